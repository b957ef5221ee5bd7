//! The messages of ONNX files, as ONNX's own `onnx-ml.proto` (1.23) has them, less their comments: field, type and number. In the order of
//! numbers, in which they are written. How they are read and written stands in `wire.rs`.

#![allow(missing_docs)]

mod macros;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;

use macros::messages;
pub use wire::{Damaged, Message};

messages! {
    AttributeProto {
        name: Option<String> = 1,
        f: Option<f32> = 2,
        i: Option<i64> = 3,
        s: Option<Bytes> = 4,
        t: Option<TensorProto> = 5,
        g: Option<GraphProto> = 6,
        floats: Vec<f32> = 7,
        ints: Vec<i64> = 8,
        strings: Vec<Bytes> = 9,
        tensors: Vec<TensorProto> = 10,
        graphs: Vec<GraphProto> = 11,
        doc_string: Option<String> = 13,
        tp: Option<TypeProto> = 14,
        type_protos: Vec<TypeProto> = 15,
        r#type: Option<i32> = 20,
        ref_attr_name: Option<String> = 21,
        sparse_tensor: Option<SparseTensorProto> = 22,
        sparse_tensors: Vec<SparseTensorProto> = 23,
    }
    ValueInfoProto {
        name: Option<String> = 1,
        r#type: Option<TypeProto> = 2,
        doc_string: Option<String> = 3,
        metadata_props: Vec<StringStringEntryProto> = 4,
    }
    NodeProto {
        input: Vec<String> = 1,
        output: Vec<String> = 2,
        name: Option<String> = 3,
        op_type: Option<String> = 4,
        attribute: Vec<AttributeProto> = 5,
        doc_string: Option<String> = 6,
        domain: Option<String> = 7,
        overload: Option<String> = 8,
        metadata_props: Vec<StringStringEntryProto> = 9,
        device_configurations: Vec<NodeDeviceConfigurationProto> = 10,
    }
    IntIntListEntryProto {
        key: Option<i64> = 1,
        value: Vec<i64> = 2,
    }
    NodeDeviceConfigurationProto {
        configuration_id: Option<String> = 1,
        sharding_spec: Vec<ShardingSpecProto> = 2,
        pipeline_stage: Option<i32> = 3,
    }
    ShardingSpecProto {
        tensor_name: Option<String> = 1,
        device: Vec<i64> = 2,
        index_to_device_group_map: Vec<IntIntListEntryProto> = 3,
        sharded_dim: Vec<ShardedDimProto> = 4,
    }
    ShardedDimProto {
        axis: Option<i64> = 1,
        simple_sharding: Vec<SimpleShardedDimProto> = 2,
    }
    SimpleShardedDimProto {
        dim: Option<simple_sharded_dim_proto::Dim> = 1 | 2,
        num_shards: Option<i64> = 3,
    }
    TrainingInfoProto {
        initialization: Option<GraphProto> = 1,
        algorithm: Option<GraphProto> = 2,
        initialization_binding: Vec<StringStringEntryProto> = 3,
        update_binding: Vec<StringStringEntryProto> = 4,
    }
    ModelProto {
        ir_version: Option<i64> = 1,
        producer_name: Option<String> = 2,
        producer_version: Option<String> = 3,
        domain: Option<String> = 4,
        model_version: Option<i64> = 5,
        doc_string: Option<String> = 6,
        graph: Option<GraphProto> = 7,
        opset_import: Vec<OperatorSetIdProto> = 8,
        metadata_props: Vec<StringStringEntryProto> = 14,
        training_info: Vec<TrainingInfoProto> = 20,
        functions: Vec<FunctionProto> = 25,
        configuration: Vec<DeviceConfigurationProto> = 26,
    }
    DeviceConfigurationProto {
        name: Option<String> = 1,
        num_devices: Option<i32> = 2,
        device: Vec<String> = 3,
    }
    StringStringEntryProto {
        key: Option<String> = 1,
        value: Option<String> = 2,
    }
    TensorAnnotation {
        tensor_name: Option<String> = 1,
        quant_parameter_tensor_names: Vec<StringStringEntryProto> = 2,
    }
    GraphProto {
        node: Vec<NodeProto> = 1,
        name: Option<String> = 2,
        initializer: Vec<TensorProto> = 5,
        doc_string: Option<String> = 10,
        input: Vec<ValueInfoProto> = 11,
        output: Vec<ValueInfoProto> = 12,
        value_info: Vec<ValueInfoProto> = 13,
        quantization_annotation: Vec<TensorAnnotation> = 14,
        sparse_initializer: Vec<SparseTensorProto> = 15,
        metadata_props: Vec<StringStringEntryProto> = 16,
    }
    TensorProto {
        dims: Vec<i64> = 1,
        data_type: Option<i32> = 2,
        segment: Option<tensor_proto::Segment> = 3,
        #[packed] float_data: Vec<f32> = 4,
        #[packed] int32_data: Vec<i32> = 5,
        string_data: Vec<Bytes> = 6,
        #[packed] int64_data: Vec<i64> = 7,
        name: Option<String> = 8,
        raw_data: Option<Bytes> = 9,
        #[packed] double_data: Vec<f64> = 10,
        #[packed] uint64_data: Vec<u64> = 11,
        doc_string: Option<String> = 12,
        external_data: Vec<StringStringEntryProto> = 13,
        data_location: Option<i32> = 14,
        metadata_props: Vec<StringStringEntryProto> = 16,
    }
    SequenceProto {
        name: Option<String> = 1,
        elem_type: Option<i32> = 2,
        tensor_values: Vec<TensorProto> = 3,
        sequence_values: Vec<SequenceProto> = 5,
    }
    OptionalProto {
        name: Option<String> = 1,
        elem_type: Option<i32> = 2,
        tensor_value: Option<TensorProto> = 3,
        sequence_value: Option<SequenceProto> = 5,
    }
    SparseTensorProto {
        values: Option<TensorProto> = 1,
        indices: Option<TensorProto> = 2,
        dims: Vec<i64> = 3,
    }
    TensorShapeProto {
        dim: Vec<tensor_shape_proto::Dimension> = 1,
    }
    TypeProto {
        value: Option<type_proto::Value> = 1 | 4 | 5 | 9 | 8 | 7,
        denotation: Option<String> = 6,
    }
    OperatorSetIdProto {
        domain: Option<String> = 1,
        version: Option<i64> = 2,
    }
    FunctionProto {
        name: Option<String> = 1,
        input: Vec<String> = 4,
        output: Vec<String> = 5,
        attribute: Vec<String> = 6,
        node: Vec<NodeProto> = 7,
        doc_string: Option<String> = 8,
        opset_import: Vec<OperatorSetIdProto> = 9,
        domain: Option<String> = 10,
        attribute_proto: Vec<AttributeProto> = 11,
        value_info: Vec<ValueInfoProto> = 12,
        overload: Option<String> = 13,
        metadata_props: Vec<StringStringEntryProto> = 14,
    }
}

pub mod attribute_proto {
    use super::macros::numbers;

    numbers! {
        AttributeType {
            Undefined = 0,
            Float = 1,
            Int = 2,
            String = 3,
            Tensor = 4,
            Graph = 5,
            SparseTensor = 11,
            TypeProto = 13,
            Floats = 6,
            Ints = 7,
            Strings = 8,
            Tensors = 9,
            Graphs = 10,
            SparseTensors = 12,
            TypeProtos = 14,
        }
    }
}

pub mod simple_sharded_dim_proto {
    use super::macros::choice;

    choice! {
        Dim {
            DimValue(i64) = 1,
            DimParam(String) = 2,
        }
    }
}

pub mod tensor_proto {
    use super::macros::{messages, numbers};

    messages! {
        Segment {
            begin: Option<i64> = 1,
            end: Option<i64> = 2,
        }
    }

    numbers! {
        DataType {
            Undefined = 0,
            Float = 1,
            Uint8 = 2,
            Int8 = 3,
            Uint16 = 4,
            Int16 = 5,
            Int32 = 6,
            Int64 = 7,
            String = 8,
            Bool = 9,
            Float16 = 10,
            Double = 11,
            Uint32 = 12,
            Uint64 = 13,
            Complex64 = 14,
            Complex128 = 15,
            Bfloat16 = 16,
            Float8e4m3fn = 17,
            Float8e4m3fnuz = 18,
            Float8e5m2 = 19,
            Float8e5m2fnuz = 20,
            Uint4 = 21,
            Int4 = 22,
            Float4e2m1 = 23,
            Float8e8m0 = 24,
            Uint2 = 25,
            Int2 = 26,
            Float6e2m3 = 27,
            Float6e3m2 = 28,
        }
    }

    numbers! {
        DataLocation {
            Default = 0,
            External = 1,
        }
    }
}

pub mod tensor_shape_proto {
    use super::macros::messages;

    messages! {
        Dimension {
            value: Option<dimension::Value> = 1 | 2,
            denotation: Option<String> = 3,
        }
    }

    pub mod dimension {
        use super::super::macros::choice;

        choice! {
            Value {
                DimValue(i64) = 1,
                DimParam(String) = 2,
            }
        }
    }
}

pub mod type_proto {
    use super::macros::{choice, messages};

    messages! {
        Tensor {
            elem_type: Option<i32> = 1,
            shape: Option<super::TensorShapeProto> = 2,
        }
        Sequence {
            elem_type: Option<Box<super::TypeProto>> = 1,
        }
        Map {
            key_type: Option<i32> = 1,
            value_type: Option<Box<super::TypeProto>> = 2,
        }
        Optional {
            elem_type: Option<Box<super::TypeProto>> = 1,
        }
        SparseTensor {
            elem_type: Option<i32> = 1,
            shape: Option<super::TensorShapeProto> = 2,
        }
        Opaque {
            domain: Option<String> = 1,
            name: Option<String> = 2,
        }
    }

    choice! {
        Value {
            TensorType(Tensor) = 1,
            SequenceType(Box<Sequence>) = 4,
            MapType(Box<Map>) = 5,
            OpaqueType(Opaque) = 7,
            SparseTensorType(SparseTensor) = 8,
            OptionalType(Box<Optional>) = 9,
        }
    }
}
