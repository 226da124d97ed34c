"""Administration and operation (SPEC §2): the node, groups, connections, presence."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Controller, Request, Response, get, post

from sse_adapters.http.answers import Client, Clients, Disconnected, Online, UserPresence, json_answer
from sse_adapters.http.body import read_json, read_optional_json
from sse_adapters.http.operation import READ_PROBLEMS, WRITE_PROBLEMS, Answer, Hub, Operation
from sse_adapters.http.parameters import LIMIT, ONE_USER, USERS
from sse_adapters.http.paths import last_segment
from sse_adapters.http.schemas import Disconnect, DisconnectAny
from sse_domain.api import GroupInfo, Info
from sse_domain.inbox import DEFAULT_PAGE
from sse_domain.message import ReceiverType, check_identifier

TAG = "Administration"

INFO = Operation(
    tag=TAG,
    summary="The hub at a glance",
    description="Of all nodes together, each of which is in `nodes`; `version`, `node_id` and `uptime_seconds` are "
    "those of the node that answers. Messages are counted since their nodes' start; `backlog` counts those waiting to "
    "commit. While Redis does not answer, `bus.healthy` is false and the node that answers speaks of itself alone.",
    answers={
        HTTPStatus.OK: Answer(
            description="The hub.",
            kind=Info,
            example={
                "version": "0.1.0",
                "node_id": "k3v9x0qa",
                "uptime_seconds": 86400.5,
                "clients": 1200,
                "connections": 1210,
                "users": 800,
                "groups": 40,
                "accepted": 50000,
                "delivered": 310000,
                "replayed": 900,
                "dropped": 0,
                "backlog": 0,
                "nodes": [
                    {
                        "node_id": "k3v9x0qa",
                        "uptime_seconds": 86400.5,
                        "connections": 1210,
                        "accepted": 50000,
                        "delivered": 310000,
                        "replayed": 900,
                        "dropped": 0,
                        "backlog": 0,
                    }
                ],
                "storage": {"kind": "sqlite", "healthy": True},
                "bus": {"kind": "none", "healthy": True},
                "unread_cache": None,
            },
        )
    },
)
GROUP = Operation(
    tag=TAG,
    summary="Who is in a group",
    description="The clients and users connected to it now, and its durable subscribers; at most 1000 of each.",
    path_parameters={"group": "The group. An encoded slash (`%2F`) is part of its name."},
    answers={
        HTTPStatus.OK: Answer(
            description="The group.",
            kind=GroupInfo,
            example={
                "group": "challenge_456",
                "clients": ["phone-7f3a"],
                "users": ["user123"],
                "subscribers": ["user123", "user456"],
            },
        )
    },
    problems=READ_PROBLEMS,
)
CLIENTS = Operation(
    tag=TAG,
    summary="Open connections",
    description="Oldest first; of one user, or of all.",
    parameters=(ONE_USER, LIMIT),
    answers={
        HTTPStatus.OK: Answer(
            description="The connections.",
            kind=Clients,
            example={
                "clients": [
                    {
                        "connection_id": "Yk3uW0pQ2rTz",
                        "client_id": "phone-7f3a",
                        "user_id": "user123",
                        "groups": ["challenge_456"],
                        "event_types": None,
                        "state": "live",
                        "connected_at": "2025-03-01T12:00:00.000000Z",
                    }
                ]
            },
        )
    },
)
ONLINE = Operation(
    tag=TAG,
    summary="Who is online",
    description="Presence and last-seen of each user asked for, in that order.",
    parameters=(USERS,),
    answers={
        HTTPStatus.OK: Answer(
            description="The users.",
            kind=Online,
            example={
                "users": [
                    {
                        "user_id": "user123",
                        "online": True,
                        "connections": 2,
                        "last_seen": "2025-03-01T12:00:00.000000Z",
                    },
                    {"user_id": "user456", "online": False, "connections": 0, "last_seen": None},
                ]
            },
        )
    },
)
DISCONNECT = Operation(
    tag=TAG,
    summary="End a client's streams",
    description="On every node. Without `reconnect` the client's next connects are answered 204 for 30 s, "
    "which stops a native EventSource.",
    path_parameters={"client_id": "The client. An encoded slash (`%2F`) is part of its id."},
    body=Disconnect,
    body_required=False,
    body_examples={"for good": {"reconnect": False}, "to move it": {"reconnect": True}},
    answers={
        HTTPStatus.OK: Answer(
            description="How many streams were ended.", kind=Disconnected, example={"disconnected": 1}
        )
    },
    problems=WRITE_PROBLEMS,
)
DISCONNECT_ANY = Operation(
    tag=TAG,
    summary="End a user's or a client's streams",
    description="As above, for whom the body names. A user's next connects are likewise answered 204.",
    body=DisconnectAny,
    body_examples={"a user": {"user_id": "user123"}, "a client, to move it": {"client_id": "phone", "reconnect": True}},
    answers={
        HTTPStatus.OK: Answer(
            description="How many streams were ended.", kind=Disconnected, example={"disconnected": 2}
        )
    },
    problems=WRITE_PROBLEMS,
)


class AdministrationController(Controller):
    @get("/info", opt=INFO.opt)
    async def info(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        INFO.query(request)
        return json_answer(await push_service.info())

    @get("/group/{group:path}", opt=GROUP.opt)
    async def group(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        GROUP.query(request)
        group = check_identifier("group", last_segment(request.scope))
        return json_answer(await push_service.group(group))

    @get("/clients", opt=CLIENTS.opt)
    async def clients(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        query = CLIENTS.query(request)
        clients = await push_service.clients(query.get(ONE_USER), query.get(LIMIT) or DEFAULT_PAGE)
        return json_answer(Clients(clients=[Client.of(each) for each in clients]))

    @get("/online", opt=ONLINE.opt)
    async def online(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        users = ONLINE.query(request).all(USERS)
        return json_answer(Online(users=[UserPresence.of(each) for each in await push_service.online(users)]))

    @post("/disconnect/{client_id:path}", opt=DISCONNECT.opt)
    async def disconnect(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        DISCONNECT.query(request)
        client_id = check_identifier("client_id", last_segment(request.scope))
        body = await read_optional_json(request, Disconnect, Disconnect())
        return json_answer(
            Disconnected(disconnected=await push_service.disconnect(client_id, reconnect=body.reconnect))
        )

    @post("/disconnect", opt=DISCONNECT_ANY.opt)
    async def disconnect_any(self, request: Request[Any, Any, Any], push_service: Hub) -> Response[bytes]:
        DISCONNECT_ANY.query(request)
        body = await read_json(request, DisconnectAny)
        receiver = body.receiver()
        end = push_service.disconnect_user if receiver.type is ReceiverType.USER else push_service.disconnect
        return json_answer(Disconnected(disconnected=await end(receiver.id or "", reconnect=body.reconnect)))
