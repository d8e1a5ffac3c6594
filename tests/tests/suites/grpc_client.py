"""Calls everything that grpc_server.py has, and prints what each came to: TARGET [NAME ROOT], with TLS where a name is given."""

import queue
import sys
import time
import uuid

import grpc

target, *tls = sys.argv[1:]
if tls:
    name, root = tls
    credentials = grpc.ssl_channel_credentials(open(root, "rb").read())
    options = (("grpc.ssl_target_name_override", name), ("grpc.default_authority", name))
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target)
PATIENCE = 30


def call(kind, method):
    return getattr(channel, kind)(f"/lab.Echo/{method}")


def status(make):
    try:
        make()
        return None
    except grpc.RpcError as error:
        return error


unary = call("unary_unary", "Unary")
print("unary:", unary(b"hello", timeout=PATIENCE).decode())

sent = (("a", "a"), ("b", "b"), ("raw-bin", b"\x00\xff"))
_, answered = call("unary_unary", "Metadata").with_call(b"", metadata=sent, timeout=PATIENCE)
initial, trailing = dict(answered.initial_metadata()), dict(answered.trailing_metadata())
print("metadata: initial", initial["initial"], "trailing", trailing["trailing"], "binary", trailing["raw-bin"].hex())

numbers = [int(one) for one in call("unary_stream", "ServerStream")(b"100", timeout=PATIENCE)]
print("server stream:", len(numbers), "in order" if numbers == list(range(100)) else numbers)

parts = (str(number).encode() for number in range(100))
print("client stream: 100 summed to", call("stream_unary", "ClientStream")(parts, timeout=PATIENCE).decode())

# Each question follows the answer to the last one: what is held back anywhere is never answered.
asked, questions = 0, queue.Queue()
stream = call("stream_stream", "BothWays")(iter(questions.get, None), timeout=PATIENCE)
for number in range(50):
    questions.put(str(number).encode())
    if next(stream) == f"re: {number}".encode():
        asked += 1
questions.put(None)
print("both ways:", asked, "answered in turn" if next(stream, None) is None else "and more")

large = bytes(range(256)) * (3 * 4096)
print("3 MB:", "came back whole" if unary(large, timeout=PATIENCE) == large else "was changed")

error = status(lambda: call("unary_unary", "Refuse")(b"", timeout=PATIENCE))
print("status:", error.code().name, "with its details" if error.details() == "no: ü %" else error.details())

was_told = call("unary_unary", "WasTold")


def named(what):
    return f"{what}-{uuid.uuid4()}".encode()


def told(what):
    return "and the server was told" if was_told(what, timeout=PATIENCE) == b"yes" else "and the server was not told"


name = named("deadline")
error = status(lambda: call("unary_unary", "Wait")(name, timeout=0.5))
print(f"deadline: {error.code().name},", told(name))

name = named("cancel")
waiting = call("unary_unary", "Wait").future(name, timeout=PATIENCE)
while call("unary_unary", "Begun")(name, timeout=PATIENCE) != b"yes":
    time.sleep(0.01)
waiting.cancel()
print("cancelled:", waiting.code().name + ",", told(name))

many = [unary.future(str(number).encode(), timeout=PATIENCE) for number in range(200)]
right = sum(one.result() == str(number).encode() for number, one in enumerate(many))
print("at once:", right, "of 200")
