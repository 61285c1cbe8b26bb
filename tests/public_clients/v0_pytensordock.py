"""Drives every method of pytensordock, a wrapper of TensorDock v0, against a simulated marketplace.

Usage: v0_pytensordock.py BASE_URL KEY TOKEN SECONDS_PER_REQUEST

Its base URL is an attribute of its object. It sends what the SDK does not: `price=None` and a deployment type with every
deploy, all filters of the list, and the bid for an existing VM to the URL that the vendor's example of a failure names.
"""

import contextlib
import io
import json

from pytensordock.api import TensorDockWrapper

from checks import BASE_URL, KEY, TOKEN, equal

WINNIPEG = "02c65d45-6da5-4232-a8db-ee0e5bc76110"
# The hostnode of the documents' one answer to a bid.
SPOT = "8db2ec46-c094-4262-bc7e-6c76617f4237"


def client(key):
    wrapper = TensorDockWrapper(api_key=key, api_token=TOKEN)
    wrapper.base_url = BASE_URL + "/api/v0/"
    return wrapper


def printed(function, *args, **kwargs):
    """What it prints: the methods about hostnodes return nothing, and it tells errors there too."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        returned = function(*args, **kwargs)
    return returned, out.getvalue()


def shown(function, *args, **kwargs):
    return json.loads(printed(function, *args, **kwargs)[1])


def fails(status, function, *args, **kwargs):
    returned, _ = printed(function, *args, **kwargs)
    assert str(status) in returned["error"], returned


api = client(KEY)
equal(api.test_authorization(), {"success": True})
equal(api.list_authorizations()["success"], True)
fails(401, client("wrong").test_authorization)

# The machines.
hosts = shown(api.list_available_hostnodes)["hostnodes"]
large = shown(
    api.list_available_hostnodes,
    min_vcpus=8,
    min_ram=32,
    min_storage=200,
    min_vram=24,
    min_gpu_count=4,
    requires_rtx=True,
    requires_gtx=False,
)["hostnodes"]
assert 0 < len(large) < len(hosts), (len(large), len(hosts))
for host in large.values():
    specs = host["specs"]
    assert specs["cpu"]["amount"] >= 8 and specs["ram"]["amount"] >= 32 and specs["storage"]["amount"] >= 200, host
    assert sum(gpu["amount"] for gpu in specs["gpu"].values()) >= 4, host
    assert any(gpu["vram"] >= 24 for gpu in specs["gpu"].values()), host
    assert any("rtx" in model for model in specs["gpu"]), host
equal(shown(api.get_specific_hostnode, WINNIPEG)["hostnode"], hosts[WINNIPEG])
equal(hosts[WINNIPEG]["location"]["city"], "Winnipeg")

# Bids, and a VM by bid.
size = {"gpu_count": 2, "gpu_model": "v100-pcie-16gb", "vcpus": 8, "hostnode": SPOT, "ram": 8, "storage": 200}
equal(api.soft_validate_new_spot_instance(**size, price=0.2), {"success": False})
equal(api.soft_validate_new_spot_instance(**size, price=0.25), {"success": True})
order = {
    **size,
    "name": "wrapped-spot",
    "external_ports": hosts[SPOT]["networking"]["ports"][:2],
    "internal_ports": [22, 80],
    "operating_system": "Ubuntu 22.04 LTS",
    "password": "superC0mplexPassword",
}
spot = api.deploy_machine(**order, price_type="spot", price=0.25, cloudinit_script="packages:\\n  - curl\\n")
equal(spot["cost"], {"compute_price": 0.25, "storage_price": 0.01, "total_price": 0.26})
equal(
    {int(port): int(inside) for port, inside in spot["port_forwards"].items()},
    dict(zip(order["external_ports"], (22, 80))),
)

# One on demand, as it sends it: with a price that is no number.
size = {
    "gpu_count": 1,
    "gpu_model": "geforcertx3080-pcie-10gb",
    "vcpus": 8,
    "hostnode": WINNIPEG,
    "ram": 32,
    "storage": 100,
}
ports = hosts[WINNIPEG]["networking"]["ports"][:1]
ondemand = api.deploy_machine(**{**order, **size, "name": "wrapped", "external_ports": ports, "internal_ports": [22]})
equal(ondemand["cost"], {"compute_price": 0.238, "storage_price": 0.005, "total_price": 0.243})
fails(400, api.deploy_machine, **{**order, **size, "vcpus": 7})

# Both are listed and described.
listed = api.list_virtual_machines()["virtualmachines"]
equal(
    {vm["name"]: (vm["status"], vm["hostnode"]) for vm in listed.values()},
    {"wrapped-spot": ("Running", SPOT), "wrapped": ("Running", WINNIPEG)},
)
details = {vm: api.get_vm_details(vm)["virtualmachine"] for vm in listed}
equal([details[vm["server"]]["type"] for vm in (spot, ondemand)], ["spot", "ondem"])
equal(api.retrieve_balance()["hourly_cost"], 0.503)

# It asks about an existing VM where one asks about a new one; that says nothing about the VM and moves no bid.
fails(400, api.soft_validate_existing_spot_instance, spot["server"], 0.3)
equal(api.retrieve_balance()["hourly_cost"], 0.503)

# Stopped, which by default gives the GPU back; resized; started.
vm = ondemand["server"]
equal(api.stop_server(vm, disassociate_resources=False), {"success": True})
equal(api.get_vm_details(vm)["virtualmachine"]["status"], "Stopped")
equal(api.stop_server(vm), {"success": True})
equal(api.get_vm_details(vm)["virtualmachine"]["status"], "StoppedDisassociated")
equal(api.modify_server(vm, "geforcertx3080-pcie-10gb", 1, 32, 8, 200), {"success": True, "server": vm})
equal(api.start_server(vm), {"success": True})
equal(api.start_server(vm)["error"], "Machine is running, therefore it cannot be started")
equal(api.retrieve_balance()["hourly_cost"], 0.508)

# Deleted, once.
for vm in (spot, ondemand):
    equal(api.delete_server(vm["server"]), {"success": True})
    fails(400, api.delete_server, vm["server"])
equal(api.list_virtual_machines(), {"success": True, "virtualmachines": {}})
final = api.retrieve_balance()
equal(final["hourly_cost"], 0.0)

print(json.dumps({"servers": [spot["server"], ondemand["server"]], "balance": final["balance"]}))
