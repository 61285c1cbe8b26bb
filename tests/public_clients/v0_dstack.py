"""Finds machines of TensorDock v0 with gpuhunt's catalogue and rents them with dstack's client, as dstack does.

Usage: v0_dstack.py BASE_URL KEY TOKEN SECONDS_PER_REQUEST

gpuhunt's URL is a constant of its module, the base URL of dstack's client an attribute of its object. Importing the client
the usual way would import all of dstack and a hundred megabytes with it; so its package is entered without running
its `__init__`, and the module with the model of a machine, which the client needs for an annotation only, is a stand-in.
The client itself, its errors and its log are as published.
"""

import importlib.util
import json
import pathlib
import sys
import types

from gpuhunt import Catalog
from gpuhunt.providers import tensordock as hunted

from checks import BASE_URL, KEY, TOKEN, close, equal, refused


def enter(name):
    """A package of dstack as a bare folder."""
    root = pathlib.Path(importlib.util.find_spec("dstack").origin).parent
    package = types.ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = package


enter("dstack._internal.core.backends.tensordock")
models = types.ModuleType("dstack._internal.core.models.instances")
models.InstanceType = types.SimpleNamespace
sys.modules[models.__name__] = models
from dstack._internal.core.backends.tensordock.api_client import TensorDockAPIClient  # noqa: E402

hunted.marketplace_hostnodes_url = BASE_URL + "/api/v0/client/deploy/hostnodes"
catalog = Catalog(auto_reload=False)
catalog.add_provider(hunted.TensorDockProvider())


def client(key):
    api = TensorDockAPIClient(key, TOKEN)
    api.api_url = BASE_URL + "/api/v0"
    return api


def machine(offer):
    """An offer of the catalogue as dstack hands it to its client."""
    gpus = [types.SimpleNamespace(name=offer.gpu_name, memory_mib=int(offer.gpu_memory) * 1024)] * offer.gpu_count
    resources = types.SimpleNamespace(cpus=offer.cpu, memory_mib=int(offer.memory) * 1024, gpus=gpus)
    return types.SimpleNamespace(name=offer.instance_name, resources=resources)


# The whole catalogue.
everything = hunted.TensorDockProvider().get()
assert len({item.instance_name for item in everything}) >= 30, len(everything)
assert all(item.price > 0 and item.gpu_memory >= 8 and item.location for item in everything)
assert [item.price for item in everything] == sorted(item.price for item in everything)
free = sum(item.gpu_count for item in everything)

# What a run would ask for, on the disk that the client always rents.
query = {"provider": "tensordock", "min_disk_size": 100, "max_disk_size": 100, "spot": False}
offers = catalog.query(**query, gpu_name="RTX3090")
assert offers and all(offer.gpu_name == "RTX3090" and offer.gpu_memory == 24 for offer in offers), offers
pairs = catalog.query(**query, min_gpu_count=2, max_gpu_count=2, max_price=2.0)
assert pairs and all(offer.gpu_count == 2 and offer.price <= 2.0 for offer in pairs), pairs
equal(catalog.query(**query, gpu_name="RTX3090", max_price=0.01), [])

api = client(KEY)
equal(api.auth_test(), True)
refused("401", client("wrong").auth_test)
cloudinit = {
    "ssh_pwauth": False,
    "users": ["default", {"name": "user", "ssh_authorized_keys": ["ssh-ed25519 AAAA me"]}],
    "runcmd": [["sh", "-c", "echo 'a: b' && echo \"c\""]],
    "write_files": [{"path": "/etc/docker/daemon.json", "content": json.dumps({"runtimes": {"nvidia": {}}})}],
}

rented = []
for name, offer in (("dstack-one", offers[0]), ("dstack-pair", pairs[0])):
    host = api.get_hostnode(offer.instance_name)
    vm = api.deploy_single(name, machine(offer), cloudinit)
    # The highest free port, by number or by text: it has been both.
    equal(
        {int(inside): int(port) for port, inside in vm["port_forwards"].items()}, {22: max(host["networking"]["ports"])}
    )
    assert vm["ip"], vm
    # What gpuhunt composed is what is billed: the vendor rounds each of four parts to a tenth of a cent.
    close(vm["cost"]["total_price"], offer.price, 0.002)
    rented.append({"server": vm["server"], "name": name, "hostnode": offer.instance_name, "gpus": offer.gpu_count})

# An odd number of vCPUs, and a machine that is not there.
odd = machine(offers[-1])
odd.resources.cpus = 7
refused("400", api.deploy_single, "dstack-odd", odd, cloudinit)
refused("404", api.get_hostnode, "00000000-0000-4000-8000-000000000000")

for vm in rented:
    api.delete_single(vm["server"])
    refused("400", api.delete_single, vm["server"])

print(json.dumps({"free_gpus": free, "rented": rented}))
