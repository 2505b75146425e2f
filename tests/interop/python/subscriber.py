"""A subscriber on the unmodified Python MCP SDK, driven over JSON lines by lib/subscribers.mjs."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, types
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl


def emit(event, **members):
    sys.stdout.write(json.dumps({"event": event, **members}) + "\n")
    sys.stdout.flush()


async def on_log(params: types.LoggingMessageNotificationParams):
    emit("notification", data=params.data)


async def on_message(message):
    """Log messages have their own callback; what counts here is the resource update with its payload."""
    if isinstance(message, Exception):
        print("stream:", message, file=sys.stderr)
    elif isinstance(message, types.ServerNotification) and isinstance(message.root, types.ResourceUpdatedNotification):
        params = message.root.params.model_dump(mode="json", by_alias=True, exclude_none=True)
        emit("meta", params=params)


async def answer(session, request):
    try:
        if request["method"] == "call":
            result = await session.call_tool(request["tool"], request["arguments"])
        elif request["method"] == "subscribe":
            result = await session.subscribe_resource(AnyUrl(request["uri"]))
        else:
            raise ValueError("unknown method " + request["method"])
        emit("answer", id=request["id"], result=result.model_dump(mode="json", by_alias=True, exclude_none=True))
    except Exception as error:  # The other side of the pipe decides what an error means.
        emit("answer", id=request["id"], error=str(error))


async def lines():
    reader = asyncio.StreamReader(limit=4 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def main():
    url = os.environ["PARLEY_URL"].rstrip("/") + "/mcp"
    headers = {"Authorization": "Bearer " + os.environ["PARLEY_API_KEY"]}
    async with streamablehttp_client(url, headers=headers) as (read, write, _):
        async with ClientSession(read, write, logging_callback=on_log, message_handler=on_message) as session:
            await session.initialize()
            emit("open")
            running = set()
            async for request in lines():
                task = asyncio.create_task(answer(session, request))
                running.add(task)
                task.add_done_callback(running.discard)


asyncio.run(main())
