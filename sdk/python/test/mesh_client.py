"""What the tests of warren_mesh run: one scenario in a process of its own.

Arguments: address, credential file, the scenario with its options as JSON. Answers are lines of JSON; a scenario that
must wait for the test waits for a line on stdin."""

import asyncio
import json
import logging
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from warren_mesh import Caller, RpcError, connect, read_credentials  # noqa: E402
from warren_mesh.ed25519 import SigningKey  # noqa: E402
from warren_mesh.protobuf import fields  # noqa: E402

SECRETS = "warren.secrets.v1.SecretsService"
AGENT = "warren.agent.v1.AgentService"


def say(**what):
    print(json.dumps(what), flush=True)


def told():
    """Resolves when the test writes a line, or ends stdin."""
    return asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def string(field, text):
    data = text.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def options_of(mesh, scenario):
    given = {name: scenario[name] for name in ("timeout", "key", "idempotency_key", "traceparent") if name in scenario}
    if "user" in scenario:
        user = {"expires_at": time.time() + 60, **scenario["user"]}
        given["assertion"] = mesh.sign(Caller(**user))
    return given


async def call(mesh, scenario):
    """Any unary method; `texts` are the request's first fields."""
    started = time.monotonic()
    texts = scenario.get("texts", [])
    request = b"".join(string(i + 1, text) for i, text in enumerate(texts)) * scenario.get("repeat", 1)
    try:
        answer = dict(fields(await mesh.call(scenario["method"], request, **options_of(mesh, scenario))))
        texts = {number: value.decode() for number, value in answer.items() if isinstance(value, bytes)}
        say(answer=texts, seconds=time.monotonic() - started)
    except RpcError as error:
        say(**told_of(error), seconds=time.monotonic() - started)


def told_of(error):
    return {
        "code": error.code.name,
        "message": error.message,
        "reason": error.reason,
        "metadata": dict(error.metadata),
        "violations": [each._asdict() for each in error.violations],
        "retry_after": error.retry_after,
    }


async def cancel(mesh, scenario):
    """A unary call whose task is cancelled when the test says so; the process stays until stdin ends."""
    task = asyncio.ensure_future(mesh.call(scenario["method"], string(1, "slow")))
    await told()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        say(cancelled=True)
    await told()


async def stream(mesh, scenario):
    """Reads a stream: `pause_after` one message waits for the test, `leave_after` one ends it and waits."""
    seen = []
    sizes = 0
    try:
        async with mesh.stream(
            f"{AGENT}/StreamChat", string(2, scenario["message"]), **options_of(mesh, scenario)
        ) as messages:
            async for message in messages:
                event = dict(fields(message))
                seen.append(event[1])
                sizes += len(message)
                if len(seen) == scenario.get("pause_after"):
                    say(paused=True)
                    await told()
                if len(seen) == scenario.get("leave_after"):
                    break
        say(count=len(seen), ordered=seen == list(range(1, len(seen) + 1)), bytes=sizes)
    except RpcError as error:
        say(count=len(seen), **told_of(error))
    if "leave_after" in scenario:
        await told()


async def lost(mesh, scenario):
    """Calls that are waiting when NATS goes, and one after."""
    waiting = [asyncio.ensure_future(call(mesh, {"method": f"{SECRETS}/GetSecret", "texts": ["slow"]})) for _ in "12"]
    await asyncio.wait(waiting)
    await call(mesh, {"method": f"{SECRETS}/GetSecret", "texts": ["slow"]})


def sign(scenario):
    """Signatures of messages, hexadecimal."""
    key = SigningKey(bytes.fromhex(scenario["seed"]))
    messages = [bytes.fromhex(each) for each in scenario["messages"]]
    say(public_key=key.public_key.hex(), signatures=[key.sign(each).hex() for each in messages])


async def main(url, credentials_file, scenario):
    try:
        credentials = read_credentials(credentials_file)
        tls = ssl.create_default_context(cafile=scenario["ca"]) if "ca" in scenario else None
        async with await connect([url], credentials, tls=tls) as mesh:
            await {"call": call, "cancel": cancel, "stream": stream, "lost": lost}[scenario["run"]](mesh, scenario)
    except (RpcError, ValueError) as error:
        say(failed=str(error))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    given = json.loads(sys.argv[3])
    if given["run"] == "sign":
        sign(given)
    else:
        asyncio.run(main(sys.argv[1], sys.argv[2], given))
