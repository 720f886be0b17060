"""A client of Warren meshes in Python: nothing but the standard library, Python 3.9 or newer.

    from warren_mesh import connect, read_credentials

    async with await connect(["nats://127.0.0.1:4222"], read_credentials("gateway.json")) as mesh:
        answer = await mesh.call("warren.secrets.v1.SecretsService/GetSecret", request_bytes, timeout=2.0)
        async with mesh.stream("warren.agent.v1.AgentService/StreamChat", request_bytes, timeout=60.0) as events:
            async for event in events:
                ...

Messages are bytes: encode them with the protobuf library of your choice. The protocol: docs/reference/mesh-protocol.md.
"""

from .caller import Caller
from .client import DEFAULT_TIMEOUT, MeshClient, connect
from .credentials import Credentials, read_credentials
from .status import RpcError, StatusCode, Violation
from .stream_reader import StreamReader

__all__ = [
    "DEFAULT_TIMEOUT",
    "Caller",
    "Credentials",
    "MeshClient",
    "RpcError",
    "StatusCode",
    "StreamReader",
    "Violation",
    "connect",
    "read_credentials",
]
