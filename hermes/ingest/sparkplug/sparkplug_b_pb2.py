"""The devices' door: the classes of ``sparkplug_b.proto``, made at import of what ``make proto`` compiled.

``sparkplug_b.desc`` is the compiled file, ``sparkplug_b_pb2.pyi`` has the classes' types. Only public calls of protobuf
are used, which all its versions since 4.22 have. Refused: the module that protoc writes, which works with
protobuf of its own major version and the next one, and no other.
"""

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_files = descriptor_pb2.FileDescriptorSet.FromString(
    resources.files("hermes.ingest.sparkplug").joinpath("sparkplug_b.desc").read_bytes()
)
# a pool of its own: another package of the same process may bring the same names
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_files.file[0].SerializeToString())


def _class_of(descriptor):
    """A message's class, and as its attributes those of the messages in it, which protobuf in Python leaves out."""
    made = message_factory.GetMessageClass(descriptor)
    for inner in descriptor.nested_types:
        inner_class = _class_of(inner)
        if not hasattr(made, inner.name):
            setattr(made, inner.name, inner_class)
    return made


DESCRIPTOR = _pool.FindFileByName("sparkplug_b.proto")
Payload = _class_of(DESCRIPTOR.message_types_by_name["Payload"])
