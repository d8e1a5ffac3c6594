"""A gRPC server of bytes: generic handlers, so that no generated code is needed."""

import sys
import threading
import time
from concurrent import futures

import grpc

# By a name that the client gives to each call.
begun, told = {}, {}


def event(events, request):
    return events.setdefault(request, threading.Event())


def unary(request, context):
    return request


def metadata(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("initial", sent["a"] + "-initial"),))
    context.set_trailing_metadata((("trailing", sent["b"] + "-trailing"), ("raw-bin", sent["raw-bin"])))
    return b""


def server_stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def both_ways(requests, context):
    for request in requests:
        yield b"re: " + request


def refuse(request, context):
    context.abort(grpc.StatusCode.ABORTED, "no: ü %")


def wait(request, context):
    context.add_callback(event(told, request).set)
    event(begun, request).set()
    while context.is_active():
        time.sleep(0.01)
    return b""


def was_told(request, context):
    return b"yes" if event(told, request).wait(5) else b"no"


def has_begun(request, context):
    return b"yes" if event(begun, request).is_set() else b"no"


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "BothWays": grpc.stream_stream_rpc_method_handler(both_ways),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Begun": grpc.unary_unary_rpc_method_handler(has_begun),
    "WasTold": grpc.unary_unary_rpc_method_handler(was_told),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Echo", handlers),))
server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
server.start()
print("listening", flush=True)
server.wait_for_termination()
