"""Requests to TensorDock v2 in the shapes of published clients that cannot be installed here, and their ways of reading.

Usage: v2_shapes.py BASE_URL KEY TOKEN SECONDS_PER_REQUEST

This is no client of anybody's: the code is ours, on a generic HTTP library. What it sends and what it insists on is what the
sources of these clients show (recorded): apartmentlines' Terraform provider (Go), skyward (Python 3.12), Merv (not
published as a package) and the vendor's own pages.
"""

import json

import requests

from checks import BASE_URL, KEY, TOKEN, close, equal

BASE = BASE_URL + "/api/v2"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample me"


def send(method, path, body=None, token=TOKEN, **kwargs):
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return requests.request(method, BASE + path, json=body, headers=headers, timeout=30, **kwargs)


def told(method, path, body=None, **kwargs):
    answer = send(method, path, body, **kwargs)
    assert answer.status_code in (200, 201, 204), f"{method} {path}: {answer.status_code} {answer.text}"
    said = answer.json() if answer.content else {}
    # With HTTP 200 too, a status of 400 and above in the body is a refusal.
    assert not (isinstance(said, dict) and isinstance(said.get("status"), int)), f"{method} {path}: {said}"
    return said


def refused(statuses, method, path, body=None, **kwargs):
    answer = send(method, path, body, **kwargs)
    status = answer.status_code
    if status == 200:  # As three clients met it.
        status = answer.json()["status"]
    assert status in statuses, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.text


def whole(number):
    """Go reads no fraction into an int64, and null into nothing."""
    assert isinstance(number, int) and not isinstance(number, bool), number
    return number


def positive(number):
    assert isinstance(number, (int, float)) and number > 0, number
    return number


# The vendor's pages: credentials are told by one call; places need none.
equal(told("POST", "/auth/test")["success"], True)
refused((401,), "POST", "/auth/test", token="wrong")
refused((401,), "GET", "/instances", token=None)
places = told("GET", "/locations", token=None)["data"]["locations"]
equal(told("GET", "/locations", token=None, params={"api_key": KEY, "api_token": TOKEN})["data"]["locations"], places)

# The Terraform provider decodes these into fixed types; Merv drops a price of which one term is missing.
for place in places:
    assert place["id"] and place["city"] and place["country"], place
    whole(place["tier"])
    for gpu in place["gpus"]:
        assert gpu["v0Name"] and gpu["displayName"], gpu
        for number in (
            gpu["max_count"],
            *(gpu["resources"][f"max_{what}"] for what in ("vcpus", "ram_gb", "storage_gb")),
        ):
            whole(number)
        for price in (
            gpu["price_per_hr"],
            *(gpu["pricing"][f"per_{what}_hr"] for what in ("vcpu", "gb_ram", "gb_storage")),
        ):
            positive(price)
        for feature in ("dedicated_ip_available", "port_forwarding_available", "network_storage_available"):
            assert isinstance(gpu["network_features"][feature], bool), gpu
hosts = told("GET", "/hostnodes")["data"]["hostnodes"]
for host in hosts:
    assert host["id"] and host["location_id"] and host["engine"] and host["location"]["uuid"], host
    assert 0 <= (host["uptime_percentage"] or 0) <= 100, host
    resources = host["available_resources"]
    for number in (host["location"]["tier"], *(resources[what] for what in ("vcpu_count", "ram_gb", "storage_gb"))):
        whole(number)
    for gpu in resources["gpus"]:
        assert gpu["v0Name"] and whole(gpu["availableCount"]) >= 0 and positive(gpu["price_per_hr"]), gpu
assert {host["location_id"] for host in hosts} <= {place["id"] for place in places}
free = sum(gpu["availableCount"] for host in hosts for gpu in host["available_resources"]["gpus"])


def roomy(host):
    """Has room for all that is to be rented below."""
    resources = host["available_resources"]
    fits = resources["vcpu_count"] >= 32 and resources["ram_gb"] >= 128 and resources["storage_gb"] >= 1000
    return fits and any(gpu["availableCount"] >= 4 for gpu in resources["gpus"])


# One machine, which alone shows its free ports.
candidates = [told("GET", f"/hostnodes/{host['id']}")["data"] for host in hosts if roomy(host)]
host = next(host for host in candidates if len(host["available_resources"]["available_ports"]) >= 5)
ports = [whole(port) for port in host["available_resources"]["available_ports"]]
gpu = next(gpu for gpu in host["available_resources"]["gpus"] if gpu["availableCount"] >= 4)
refused((404,), "GET", "/hostnodes/00000000-0000-4000-8000-000000000000")


def order(name, **attributes):
    resources = {"vcpu_count": 8, "ram_gb": 32, "storage_gb": 200, "gpus": {gpu["v0Name"]: {"count": 1}}}
    shared = {"name": name, "type": "virtualmachine", "image": "ubuntu2404", "resources": resources}
    return {"data": {"type": "virtualmachine", "attributes": {**shared, **attributes}}}


def create(name, **attributes):
    made = told("POST", "/instances", order(name, **attributes))["data"]
    assert made["id"] and made["name"] == name and made["status"], made
    return made["id"]


# A secret, which is the key of a VM; the provider of Terraform names its own type.
secret = {"data": {"type": "secret", "attributes": {"name": "deploy-key", "type": "SSHKEY", "value": SSH_KEY}}}
made = told("POST", "/secrets", secret)["data"]
assert made["id"], made
equal([(one["id"], one["name"]) for one in told("GET", "/secrets")["data"]["secrets"]], [(made["id"], "deploy-key")])
kept = told("GET", f"/secrets/{made['id']}")["data"]
equal((kept["id"], kept["name"], kept["type"], kept["value"]), (made["id"], "deploy-key", "SSHKEY", SSH_KEY))
refused((405,), "PATCH", f"/secrets/{made['id']}", secret)

# The Terraform provider: on a machine, with ports of it.
forwards = [{"internal_port": inside, "external_port": port} for inside, port in zip((22, 80), ports)]
setup = {"package_update": True, "package_upgrade": False, "packages": ["curl"], "runcmd": ["echo 'a: b'"]}
on_host = create("shape-terraform", hostnode_id=host["id"], ssh_key=SSH_KEY, port_forwards=forwards, cloud_init=setup)
# The vendor's page: with a key that is kept there.
on_key = create(
    "shape-page",
    location_id=host["location_id"],
    ssh_key_id=made["id"],
    port_forwards=[{"internal_port": 22, "external_port": 0}],
)
# skyward: in a place, at ports that the marketplace picks.
anywhere = [{"internal_port": inside, "external_port": 0} for inside in (22, 25520)]
in_place = create("shape-skyward", location_id=host["location_id"], ssh_key=SSH_KEY, port_forwards=anywhere)
# Merv: only where an address of its own is to be had, and then without any forwards.
own = {place["id"] for place in places for sold in place["gpus"] if sold["network_features"]["dedicated_ip_available"]}
assert host["location_id"] in own, own
files = {
    "write_files": [{"path": "/opt/up.sh", "content": "#!/bin/sh\n", "permissions": "0755"}],
    "runcmd": ["/opt/up.sh"],
}
on_address = create(
    "shape-merv", location_id=host["location_id"], ssh_key=SSH_KEY, useDedicatedIp=True, cloud_init=files
)
vms = {"shape-terraform": on_host, "shape-page": on_key, "shape-skyward": in_place, "shape-merv": on_address}

# What nobody is let do.
refused(
    (400, 422),
    "POST",
    "/instances",
    order("both", hostnode_id=host["id"], ssh_key=SSH_KEY, ssh_key_id=made["id"], port_forwards=forwards),
)
refused((400, 422), "POST", "/instances", order("no-key", hostnode_id=host["id"], port_forwards=forwards))
refused(
    (400,),
    "POST",
    "/instances",
    order(
        "no-port",
        hostnode_id=host["id"],
        ssh_key=SSH_KEY,
        port_forwards=[{"internal_port": 80, "external_port": ports[-1]}],
    ),
)
refused(
    (400, 404),
    "POST",
    "/instances",
    order("nowhere", hostnode_id="00000000-0000-4000-8000-000000000000", ssh_key=SSH_KEY, port_forwards=forwards),
)
refused(
    (400,),
    "POST",
    "/instances",
    order("greedy", hostnode_id=host["id"], ssh_key=SSH_KEY, port_forwards=forwards) | {"data": {}},
)

# A list as everybody reads it: flat, and by attributes.
listed = told("GET", "/instances")["data"]["instances"]
equal({one["name"]: one["id"] for one in listed}, vms)
for one in listed:
    equal((one["attributes"]["name"], one["attributes"]["status"].lower()), (one["name"], one["status"].lower()))
    equal(one["status"].lower(), "running")
    assert one["ipAddress"], one
    ssh = [whole(forward["external_port"]) for forward in one["portForwards"] if forward["internal_port"] == 22]
    assert len(ssh) == (one["name"] != "shape-merv") and all(port > 0 for port in ssh), one

# One, bare: what the Terraform provider holds its plan against.
for name, vm in vms.items():
    one = told("GET", f"/instances/{vm}")
    equal((one["id"], one["name"], one["status"].lower()), (vm, name, "running"))
    resources = one["resources"]
    equal([whole(resources[what]) for what in ("vcpu_count", "ram_gb", "storage_gb")], [8, 32, 200])
    equal(
        [(key, sold["v0Name"], whole(sold["count"])) for key, sold in resources["gpus"].items()],
        [(gpu["v0Name"], gpu["v0Name"], 1)],
    )
    positive(one["rateHourly"])
one = told("GET", f"/instances/{on_host}")
equal(
    {forward["internal_port"]: forward["external_port"] for forward in one["portForwards"]}, dict(zip((22, 80), ports))
)
prices = host["pricing"]
rate = (
    gpu["price_per_hr"] + 8 * prices["per_vcpu_hr"] + 32 * prices["per_gb_ram_hr"] + 200 * prices["per_gb_storage_hr"]
)
close(one["rateHourly"], rate, 0.002)

# Stopped, resized as the Terraform provider does, started; a body is sent by some and not by others.
refused((400, 409), "POST", f"/instances/{on_host}/start", {})
resize = {"cpuCores": 4, "ramGb": 16, "diskGb": 300, "gpus": {"gpuV0Name": gpu["v0Name"], "count": 1}}
refused((400, 409), "PUT", f"/instances/{on_host}/modify", resize)
equal(told("POST", f"/instances/{on_host}/stop")["data"]["attributes"]["status"].lower(), "stopping")
assert told("GET", f"/instances/{on_host}")["status"].lower() in ("stopped", "stoppeddisassociated")
told("PUT", f"/instances/{on_host}/modify", resize)
refused((400,), "PUT", f"/instances/{on_host}/modify", {**resize, "diskGb": 200})
resources = told("GET", f"/instances/{on_host}")["resources"]
equal([resources[what] for what in ("vcpu_count", "ram_gb", "storage_gb")], [4, 16, 300])
equal(told("POST", f"/instances/{on_host}/start", {})["data"]["attributes"]["status"].lower(), "starting")
equal(told("GET", f"/instances/{on_host}")["status"].lower(), "running")

# What a place says of a model is what one gets there, for the price that it says: Merv adds up its quote from it.
for place in places:
    for sold in place["gpus"]:
        assert sold["max_count"] > 0 and all(sold["resources"][f"max_{what}"] > 0 for what in ("vcpus", "ram_gb")), sold
        if sold["resources"]["max_storage_gb"] < 100 or place["id"] == host["location_id"]:
            continue
        name = f"shape-quoted-{len(vms)}"
        attributes = {"location_id": place["id"], "ssh_key": SSH_KEY, "useDedicatedIp": True}
        body = order(name, **attributes)
        body["data"]["attributes"]["resources"] = {
            "vcpu_count": 2,
            "ram_gb": 4,
            "storage_gb": 100,
            "gpus": {sold["v0Name"]: {"count": 1}},
        }
        vms[name] = told("POST", "/instances", body)["data"]["id"]
        prices = sold["pricing"]
        rate = (
            sold["price_per_hr"]
            + 2 * prices["per_vcpu_hr"]
            + 4 * prices["per_gb_ram_hr"]
            + 100 * prices["per_gb_storage_hr"]
        )
        close(told("GET", f"/instances/{vms[name]}")["rateHourly"], rate, 0.002)

# Gone is 404, which all of them take for done.
for vm in vms.values():
    told("DELETE", f"/instances/{vm}")
    refused((404,), "DELETE", f"/instances/{vm}")
    refused((404,), "GET", f"/instances/{vm}")
equal(told("GET", "/instances")["data"]["instances"], [])
told("DELETE", f"/secrets/{made['id']}")
refused((404,), "GET", f"/secrets/{made['id']}")
equal(told("GET", "/secrets")["data"]["secrets"], [])

print(json.dumps({"servers": list(vms.values()), "free_gpus": free}))
