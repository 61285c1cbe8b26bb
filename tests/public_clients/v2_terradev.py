"""Drives terradev's provider of TensorDock v2 through a VM's whole life against a simulated marketplace.

Usage: v2_terradev.py BASE_URL KEY TOKEN SECONDS_PER_REQUEST

Its base URL is an attribute of its class. It looks for a place by itself, rents there with a dedicated IP, and where it
cannot read an answer it makes one up: a price from its own table, an id from the time of day, an empty list. So
everything here is held against numbers that it cannot know. Money is asked through v0, the only API that tells it.
"""

import asyncio
import json
import os
import pathlib

from pytensordock.api import TensorDockWrapper
from terradev_cli.providers.tensordock_provider import TensorDockProvider

from checks import BASE_URL, KEY, TOKEN, close, equal

GPU = "RTX4090"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample me"

TensorDockProvider.API_BASE = BASE_URL + "/api/v2"
# Where it looks for a key.
keys = pathlib.Path(os.environ["HOME"]) / ".terradev" / "keys"
keys.mkdir(parents=True)
(keys / "id_ed25519.pub").write_text(PUBLIC_KEY + "\n")

wallet = TensorDockWrapper(api_key=KEY, api_token=TOKEN)
wallet.base_url = BASE_URL + "/api/v0/"


async def refused(text, call):
    """It raises on every status from 400."""
    try:
        answer = await call
    except Exception as error:
        assert text in str(error), f"{error!r} does not say {text!r}"
    else:
        raise AssertionError(f"{answer!r} instead of a refusal with {text!r}")


async def drive(cloud):
    # What is offered, and where: not its own table, whose offers have no place.
    quotes = await cloud.get_instance_quotes(GPU)
    assert quotes and all(quote["_location_id"] and quote["price_per_hour"] > 0 for quote in quotes), quotes
    equal({quote["instance_type"] for quote in quotes}, {"geforcertx4090-pcie-24gb"})
    assert any(quote["available"] for quote in quotes), quotes

    # The place it is going to take, and what it is going to cost there.
    locations = (await cloud._make_request("GET", f"{cloud.API_BASE}/locations"))["data"]["locations"]
    v0name = TensorDockProvider.GPU_PRICING[GPU]["v0Name"]
    sold = [gpu for place in locations for gpu in place["gpus"] if gpu["v0Name"] == v0name and gpu["max_count"] > 0]
    equal(
        [gpu["price_per_hr"] for gpu in sorted(sold, key=lambda gpu: gpu["price_per_hr"])],
        [quote["price_per_hour"] for quote in quotes],
    )
    prices = sold[0]["pricing"]
    rate = (
        sold[0]["price_per_hr"]
        + 8 * prices["per_vcpu_hr"]
        + 32 * prices["per_gb_ram_hr"]
        + 200 * prices["per_gb_storage_hr"]
    )

    equal(await cloud.list_instances(), [])
    equal(wallet.retrieve_balance()["hourly_cost"], 0.0)
    made = await cloud.provision_instance(v0name, quotes[0]["region"], GPU)
    vm = made["instance_id"]
    assert made["status"] in ("running", "creating", "queued"), made

    # It is listed and described, under the name that it chose.
    listed = await cloud.list_instances()
    equal([(one["instance_id"], one["status"]) for one in listed], [(vm, "running")])
    name = listed[0]["instance_type"]
    assert name.startswith("terradev-rtx4090-"), name
    status = await cloud.get_instance_status(vm)
    equal(status["status"], "running")
    assert status["public_ip"], status
    close(status["rate_hourly"], rate, 0.002)
    close(wallet.retrieve_balance()["hourly_cost"], rate, 0.002)
    # v0 sees the same VM: it is one organisation.
    equal([seen["name"] for seen in wallet.list_virtual_machines()["virtualmachines"].values()], [name])

    await refused("HTTP 4", cloud.start_instance(vm))
    equal((await cloud.stop_instance(vm))["status"], "stopping")
    stopped = (await cloud.get_instance_status(vm))["status"].lower()
    assert stopped in ("stopped", "stoppeddisassociated"), stopped
    await refused("HTTP 4", cloud.stop_instance(vm))
    equal((await cloud.start_instance(vm))["status"], "starting")
    equal((await cloud.get_instance_status(vm))["status"], "running")

    # With a wrong token nothing is told and nothing is done.
    async with TensorDockProvider({"api_key": "wrong"}) as stranger:
        equal(await stranger.list_instances(), [])
        await refused("HTTP 401", stranger.get_instance_status(vm))
        await refused("HTTP 401", stranger.terminate_instance(vm))

    # Nobody has such a GPU: it asks for one nowhere, and is refused.
    equal((await cloud.get_instance_quotes("T4"))[0].get("_location_id"), None)
    await refused("HTTP 4", cloud.provision_instance("t4-pcie-16gb", "anywhere", "T4"))

    equal((await cloud.check_health()).healthy, True)
    await cloud.terminate_instance(vm)
    await refused("HTTP 404", cloud.get_instance_status(vm))
    await refused("HTTP 404", cloud.terminate_instance(vm))
    equal(await cloud.list_instances(), [])
    return {"server": vm, "name": name, "rate": status["rate_hourly"]}


async def main():
    async with TensorDockProvider({"api_key": TOKEN}) as cloud:
        return await drive(cloud)


told = asyncio.run(main())
final = wallet.retrieve_balance()
equal(final["hourly_cost"], 0.0)
print(json.dumps({**told, "balance": final["balance"]}))
