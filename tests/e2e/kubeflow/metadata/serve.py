"""The metadata store's gRPC service over the store in its Python package: bytes in, bytes out, one call at a time.

python serve.py FILE        FILE is SQLite's; runs in an image of its own, which has ml-metadata
"""

import sys
import threading
from collections.abc import Callable
from concurrent import futures

import grpc  # type: ignore[import-untyped,unused-ignore]
from ml_metadata.metadata_store.pywrap.metadata_store_extension import (  # type: ignore[import-not-found,unused-ignore]
    metadata_store as native,
)
from ml_metadata.proto import metadata_store_pb2 as pb  # type: ignore[import-not-found,unused-ignore]
from ml_metadata.proto import metadata_store_service_pb2 as service

SERVICE = service.DESCRIPTOR.services_by_name["MetadataStoreService"]
PORT = 8080


def opened(file: str) -> object:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = file
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return native.CreateMetadataStore(config.SerializeToString(), pb.MigrationOptions().SerializeToString())


def method(name: str, store: object, lock: threading.Lock) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def call(request: bytes, context: grpc.ServicerContext) -> bytes:
        with lock:
            answer, message, code = getattr(native, name)(store, request)
        if code:
            context.abort(next(status for status in grpc.StatusCode if status.value[0] == code), message.decode())
        return bytes(answer)

    return call


def main() -> None:
    store, lock = opened(sys.argv[1]), threading.Lock()
    names = [known.name for known in SERVICE.methods if hasattr(native, known.name)]
    handlers = {name: grpc.unary_unary_rpc_method_handler(method(name, store, lock)) for name in names}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    server.add_insecure_port(f"0.0.0.0:{PORT}")
    server.start()
    print(f"{len(names)} of {len(SERVICE.methods)} calls", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
