"""The classes of ``sparkplug_b.proto``, created from the compiled descriptor.

``make proto`` compiles it to ``sparkplug_b.desc``; ``sparkplug_b_pb2.pyi`` has the types. Only public functions of
protobuf are used, which all versions since 4.22 have. The module that protoc generates is not used, because it works
only with protobuf of its own major version and the next one.
"""

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_files = descriptor_pb2.FileDescriptorSet.FromString(
    resources.files("hermes.ingest.sparkplug").joinpath("sparkplug_b.desc").read_bytes()
)
# a separate pool: another package in the same process may define the same names
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_files.file[0].SerializeToString())


def _class_of(descriptor):
    """Return the class of a message, with its inner classes as attributes.

    Protobuf without its C extension does not set these attributes.
    """
    made = message_factory.GetMessageClass(descriptor)
    for inner in descriptor.nested_types:
        inner_class = _class_of(inner)
        if not hasattr(made, inner.name):
            setattr(made, inner.name, inner_class)
    return made


DESCRIPTOR = _pool.FindFileByName("sparkplug_b.proto")
Payload = _class_of(DESCRIPTOR.message_types_by_name["Payload"])
