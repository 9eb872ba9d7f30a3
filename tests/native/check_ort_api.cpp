// The library's own declarations of onnxruntime's C interface against the published header, at compile time: see
// test_ort_api.py.
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>

namespace ours {
#include "ort_api.h"
}

namespace ort = ours::sdp::ort;

#define ORT_FUNCTION(name, position) \
  static_assert(offsetof(OrtApi, name) == position * sizeof(void*), "OrtApi::" #name " is elsewhere");
#include "ort_functions.def"
#undef ORT_FUNCTION
static_assert(sizeof(ours::OrtApiTable) <= sizeof(OrtApi), "OrtApi is shorter");

#define CALLBACK(name) \
  static_assert(offsetof(OrtCustomOp, name) == offsetof(ours::OrtCustomOp, name), "OrtCustomOp::" #name " is elsewhere");
CALLBACK(CreateKernel)
CALLBACK(GetName)
CALLBACK(GetExecutionProviderType)
CALLBACK(GetInputType)
CALLBACK(GetInputTypeCount)
CALLBACK(GetOutputType)
CALLBACK(GetOutputTypeCount)
CALLBACK(KernelCompute)
CALLBACK(KernelDestroy)
CALLBACK(GetInputCharacteristic)
CALLBACK(GetOutputCharacteristic)
CALLBACK(GetInputMemoryType)
CALLBACK(GetVariadicInputMinArity)
CALLBACK(GetVariadicInputHomogeneity)
CALLBACK(GetVariadicOutputMinArity)
CALLBACK(GetVariadicOutputHomogeneity)
CALLBACK(CreateKernelV2)
CALLBACK(KernelComputeV2)
CALLBACK(InferOutputShapeFn)
CALLBACK(GetStartVersion)
CALLBACK(GetEndVersion)
CALLBACK(GetMayInplace)
CALLBACK(ReleaseMayInplace)
CALLBACK(GetAliasMap)
CALLBACK(ReleaseAliasMap)

#define VALUE(name, published) \
  static_assert(static_cast<int>(ort::name) == static_cast<int>(published), #published " has another value");
VALUE(kFloat, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
VALUE(kUint8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8)
VALUE(kInt8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8)
VALUE(kUint16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16)
VALUE(kInt64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)
VALUE(kBool, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL)
VALUE(kRequired, INPUT_OUTPUT_REQUIRED)
VALUE(kOptional, INPUT_OUTPUT_OPTIONAL)
VALUE(kFail, ORT_FAIL)
VALUE(kInvalidArgument, ORT_INVALID_ARGUMENT)
