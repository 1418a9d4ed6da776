"""Write the Python code of the .proto files beside them: ``python -m quittance.providers.lnd._proto.generate``.

The compiler's own version checks are taken out: they would bind every user to the versions of this machine, and the
code that it writes for these files has been the same since protobuf 4 and grpcio 1.64.
"""

import argparse
import importlib
import re
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_LINE_MAX = 120
_PACKAGE = Path("quittance/providers/lnd/_proto")
_PROTOBUF_CHECK = re.compile(
    r"^from google\.protobuf import runtime_version as _runtime_version\n"
    r"|^_runtime_version\.ValidateProtobufRuntimeVersion\(\n(?:    .*\n)*\)\n"
    r"|^# Protobuf Python Version: .*\n",
    re.MULTILINE,
)
_GRPC_CHECK = re.compile(r"^import warnings\n\n|^GRPC_GENERATED_VERSION = (?:.*\n)+?    \)\n", re.MULTILINE)


def _stub_types(module: str) -> str:
    """Return the types of the asynchronous client stubs of one module, which the compiler leaves out."""
    package = str(_PACKAGE).replace("/", ".")
    descriptor = importlib.import_module(f"{package}.{module}").DESCRIPTOR
    used, classes = {module}, []
    for service in descriptor.services_by_name.values():
        lines = [f"class {service.name}Stub:", "    def __init__(self, channel: grpc.aio.Channel) -> None: ..."]
        for method in service.methods:
            kind = "UnaryStream" if method.server_streaming else "UnaryUnary"
            names = []
            for message in (method.input_type, method.output_type):
                home = Path(message.file.name).stem + "_pb2"
                used.add(home)
                names.append(f"{home}.{message.name}")
            line = f"    {method.name}: grpc.aio.{kind}MultiCallable[{', '.join(names)}]"
            lines.append(line if len(line) <= _LINE_MAX else line.replace("[", "[\n        ").replace("]", "\n    ]"))
        classes.append("\n".join(lines) + "\n")
    imports = f"import grpc.aio\n\nfrom {package} import {', '.join(sorted(used))}\n\n"
    return imports + "\n".join(classes)


def generate(root: Path) -> int:
    """Compile every .proto file below ``root``, the folder that holds ``quittance``; return the compiler's status."""
    protoc = importlib.import_module("grpc_tools.protoc")
    protos = sorted(str(_PACKAGE / path.name) for path in _HERE.glob("*.proto"))
    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
    status: int = protoc.main(["protoc", f"--proto_path={root}", *outputs, *protos])
    for path in [*_HERE.glob("*_pb2.py"), *_HERE.glob("*_pb2_grpc.py")]:
        text = _GRPC_CHECK.sub("", _PROTOBUF_CHECK.sub("", path.read_text()))
        path.write_text(text)
    for path in _HERE.glob("*_pb2_grpc.py"):
        path.with_suffix(".pyi").write_text(_stub_types(path.stem.removesuffix("_grpc")))
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the Python code of LND's .proto files. Needs grpcio-tools.")
    parser.add_argument(
        "--root",
        type=Path,
        default=_HERE.parents[2] / "src" if (_HERE.parents[2] / "src").is_dir() else _HERE.parents[3],
        help="the folder that holds the package quittance (default: this one's)",
    )
    return generate(parser.parse_args().root)


if __name__ == "__main__":
    sys.exit(main())
