"""Drives every call of the public Python SDK that TensorDock v0 supports against a simulated marketplace.

Usage: drive.py BASE_URL KEY TOKEN SECONDS_PER_REQUEST

The market's clock moves by so many seconds with each request, so that every number below is exact. Prints one JSON
document for the Rust side to hold against the world's own truth.
"""

import json
import sys

try:  # The name in its documentation.
    from unofficial_tensordock import TensorDockAPI
    from unofficial_tensordock.exceptions import TensorDockAPIException
except ImportError:  # The name in the published package.
    from tensordock import TensorDockAPI
    from tensordock.exceptions import TensorDockAPIException

BASE_URL, KEY, TOKEN, SECONDS_PER_REQUEST = sys.argv[1:]
# The hostnode of the documents' one answer to a bid.
SPOT = "8db2ec46-c094-4262-bc7e-6c76617f4237"
WINNIPEG = "02c65d45-6da5-4232-a8db-ee0e5bc76110"

requests_made = 0


def counted(function):
    """Counts the SDK's requests: each moves the market's clock."""

    def call(*args, **kwargs):
        global requests_made
        requests_made += 1
        return function(*args, **kwargs)

    return call


def client(key, token):
    api = TensorDockAPI(api_key=key, api_token=token)
    api.base_url = BASE_URL + "/api/v0"
    for part in (api.authorization, api.virtual_machines, api.containers, api.billing):
        part._make_request = counted(part._make_request)
    return api


def equal(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


def refused(text, function, *args, **kwargs):
    """The SDK raises on every status but 200."""
    try:
        answer = function(*args, **kwargs)
    except TensorDockAPIException as error:
        assert text in str(error), f"{error} does not say {text!r}"
    else:
        raise AssertionError(f"{answer!r} instead of a refusal with {text!r}")


api = client(KEY, TOKEN)
vms, auth, billing = api.virtual_machines, api.authorization, api.billing

# Credentials.
equal(auth.test_authorization(), {"success": True})
authorizations = auth.list_authorizations()
assert authorizations["success"] is True and len(authorizations["authorizations"]) == 1, authorizations
refused("Invalid API key", client(KEY, "wrong").authorization.test_authorization)

# The machines.
hosts = vms.get_available_hostnodes()["hostnodes"]
large = vms.get_available_hostnodes(min_gpu_count=4)["hostnodes"]
assert 30 <= len(hosts) <= 60 and 0 < len(large) < len(hosts), (len(hosts), len(large))
assert all(sum(gpu["amount"] for gpu in host["specs"]["gpu"].values()) >= 4 for host in large.values())
free = sum(gpu["amount"] for host in hosts.values() for gpu in host["specs"]["gpu"].values())
winnipeg = vms.get_hostnode_details(WINNIPEG)
equal(winnipeg["success"], True)
equal(winnipeg[WINNIPEG], hosts[WINNIPEG])
equal(winnipeg[WINNIPEG]["location"]["city"], "Winnipeg")
equal(winnipeg[WINNIPEG]["specs"]["gpu"]["geforcertx3080-pcie-10gb"]["amount"], 1)
equal(winnipeg[WINNIPEG]["specs"]["gpu"]["geforcertx3080-pcie-10gb"]["price"], 0.15)
equal(winnipeg[WINNIPEG]["specs"]["storage"]["price"], 0.00005)
equal(winnipeg[WINNIPEG]["status"]["online"], True)
refused("Hostnode not found", vms.get_hostnode_details, "00000000-0000-4000-8000-000000000000")

# Bids, and a VM by bid.
shape = {"gpu_count": 2, "gpu_model": "v100-pcie-16gb", "vcpus": 8, "ram": 8, "storage": 200, "hostnode": SPOT}
equal(vms.validate_spot_price_new(**shape, price=0.2), {"success": False})
equal(vms.validate_spot_price_new(**shape, price=0.25), {"success": True})
outside = hosts[SPOT]["networking"]["ports"][:2]
order = {
    **shape,
    "name": "sdk-spot",
    "password": "superC0mplexPassword",
    "operating_system": "Ubuntu 22.04 LTS",
    "external_ports": "{%d, %d}" % tuple(outside),
    "internal_ports": "{22, 80}",
    "price_type": "spot",
}
refused("vcpus", vms.deploy_vm, **{**order, "vcpus": 7, "price": 0.25})
equal(vms.deploy_vm(**order, price=0.2)["success"], False)
equal(billing.get_balance(), {"success": True, "balance": 100.0, "hourly_cost": 0.0})
spot = vms.deploy_vm(**order, price=0.25)
started = requests_made
equal(spot["success"], True)
equal(spot["cost"], {"compute_price": 0.25, "storage_price": 0.01, "total_price": 0.26})
equal({int(port): int(inside) for port, inside in spot["port_forwards"].items()}, dict(zip(outside, (22, 80))))
spot_id = spot["server"]

# It pays its bid and its disk.
balance = billing.get_balance()
seconds = (requests_made - started) * int(SECONDS_PER_REQUEST)
assert abs(balance["balance"] - (100 - 0.26 * seconds / 3600)) < 2e-6, balance
equal(balance["hourly_cost"], 0.26)

# It is listed, and can be asked for.
listed = vms.list_vms()["virtualmachines"]
equal(list(listed), [spot_id])
equal(listed[spot_id]["name"], "sdk-spot")
equal(listed[spot_id]["status"], "Running")
equal(listed[spot_id]["hostnode"], SPOT)
equal(listed[spot_id]["specs"]["gpu"], {"amount": 2, "type": "v100-pcie-16gb"})
details = vms.get_vm_details(spot_id)["virtualmachine"]
equal((details["name"], details["type"], details["status"]), ("sdk-spot", "spot", "Running"))
equal((details["specs"]["vcpus"], details["specs"]["ram"], details["specs"]["storage"]), (8, 8, 200))
equal(details["operating_system"], "Ubuntu 22.04 LTS")
refused("not found", vms.get_vm_details, "00000000-0000-4000-8000-000000000000")

# Another bid for it.
equal(vms.validate_spot_price_existing(spot_id, 0.1)["success"], False)
equal(vms.validate_spot_price_existing(spot_id, 0.3), {"success": True})
equal(billing.get_balance()["hourly_cost"], 0.31)

# Stop and start, with the GPU kept and given back.
equal(
    vms.start_vm(spot_id), {"success": False, "error": "Machine is running, therefore it cannot be started"}
)
equal(vms.stop_vm(spot_id), {"success": True})
equal(vms.get_vm_details(spot_id)["virtualmachine"]["status"], "Stopped")
equal(billing.get_balance()["hourly_cost"], 0.31)
equal(vms.start_vm(spot_id), {"success": True})
equal(vms.get_vm_details(spot_id)["virtualmachine"]["status"], "Running")
equal(vms.stop_vm(spot_id, disassociate_resources=True), {"success": True})
equal(vms.get_vm_details(spot_id)["virtualmachine"]["status"], "StoppedDisassociated")
equal(billing.get_balance()["hourly_cost"], 0.01)
equal(
    vms.stop_vm(spot_id), {"success": False, "error": "Machine is stoppeddisassociated, therefore it cannot be stopped"}
)

# Another size, while it is stopped.
equal(vms.modify_vm(spot_id, storage=400, vcpus=12), {"server": spot_id, "success": True})
resized = vms.get_vm_details(spot_id)["virtualmachine"]["specs"]
equal((resized["vcpus"], resized["ram"], resized["storage"]), (12, 8, 400))
equal(billing.get_balance()["hourly_cost"], 0.02)
refused("vcpus", vms.modify_vm, spot_id, vcpus=7)
equal(vms.start_vm(spot_id), {"success": True})
equal(
    vms.modify_vm(spot_id, ram=16), {"success": False, "error": "Machine is running, therefore it cannot be modified"}
)

# A VM on demand.
ondemand = vms.deploy_vm(
    name="sdk-on-demand",
    ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample me",
    password="superC0mplexPassword",
    gpu_count=1,
    gpu_model="geforcertx3080-pcie-10gb",
    vcpus=8,
    ram=32,
    external_ports="{%d}" % hosts[WINNIPEG]["networking"]["ports"][0],
    internal_ports="{22}",
    hostnode=WINNIPEG,
    storage=100,
    operating_system="Ubuntu 22.04 LTS",
)
equal(ondemand["cost"], {"compute_price": 0.238, "storage_price": 0.005, "total_price": 0.243})
equal(sorted(vm["name"] for vm in vms.list_vms()["virtualmachines"].values()), ["sdk-on-demand", "sdk-spot"])
equal(vms.get_vm_details(ondemand["server"])["virtualmachine"]["type"], "ondem")

# Deleted, once.
equal(vms.delete_vm(spot_id), {"success": True})
equal(vms.delete_vm(ondemand["server"]), {"success": True})
refused("already terminated", vms.delete_vm, spot_id)
equal(vms.list_vms(), {"success": True, "virtualmachines": {}})
final = billing.get_balance()
equal(final["hourly_cost"], 0.0)

# What a customer's account has nothing to say about.
equal(billing.get_revenue(), {"data": []})
equal(billing.get_monthly_summary("2024-05")["bill_period"]["startM"], "05")
refused("period", billing.get_monthly_summary, "May")

# What was paid this month is what is gone; the market's clock began with the epoch.
bill = billing.get_monthly_summary("1970-01")
equal((bill["previous_balance"], float(bill["final_balance"])), ("100.00", final["balance"]))
lines = [line for kind in ("vm_expenses", "storage_expenses") for line in bill["transactions"][kind]]
equal({line["virtual_machine_id"] for line in lines}, {spot_id, ondemand["server"]})
assert abs(sum(line["total_amount"] for line in lines) - float(bill["changes"]["expenses"])) < 1e-5, bill
assert abs(100 - final["balance"] - float(bill["changes"]["expenses"])) < 1e-5, bill

# Containers are deprecated by the vendor.
for call, given in (
    (api.containers.deploy_container, {"display_name": "x"}),
    (api.containers.scale_container, {"container_id": "x", "replicas": 1}),
    (api.containers.stop_container, {"container_id": "x"}),
    (api.containers.get_container_replicas, {"container_id": "x"}),
):
    refused("no longer support containers", call, **given)

# All that the published package can do, in its own order.
methods = [
    f"{part}.{name}"
    for part, calls in vars(api).items()
    if hasattr(calls, "_make_request")
    for name, call in vars(type(calls)).items()
    if callable(call) and not name.startswith("_")
]

print(
    json.dumps(
        {
            "free_gpus": free,
            "servers": [spot_id, ondemand["server"]],
            "balance": final["balance"],
            "requests": requests_made,
            "methods": methods,
        }
    )
)
