"""Sends every WebSocket message back: ADDRESS PORT."""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # The suite's own bounds: large messages, and no pings that it did not ask for.
    async with serve(echo, sys.argv[1], int(sys.argv[2]), max_size=None, max_queue=None, ping_interval=None):
        print("listening", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
