// The part of onnxruntime's C interface that this library uses. Its functions are called by their position in
// onnxruntime's table: see ort_functions.def.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct OrtStatus;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;

struct OrtApiTable {
  void* entry[278];  // as many as API version 17 has
};

struct OrtApiBase {
  const OrtApiTable* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApiTable*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  int (*GetInputType)(const OrtCustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  int (*GetOutputType)(const OrtCustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, OrtKernelContext*);
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const OrtCustomOp*, size_t index);
  int (*GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
  int (*GetInputMemoryType)(const OrtCustomOp*, size_t index);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApiTable*, const OrtKernelInfo*, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, void* context);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** inputs, int** outputs);
  void (*ReleaseMayInplace)(int* inputs, int* outputs);
  size_t (*GetAliasMap)(int** inputs, int** outputs);
  void (*ReleaseAliasMap)(int* inputs, int* outputs);
};

}  // extern "C"

namespace sdp::ort {

constexpr uint32_t kApiVersion = 17;

enum ElementType { kFloat = 1, kUint8 = 2, kInt8 = 3, kUint16 = 4, kInt64 = 7, kBool = 9 };
enum Characteristic { kRequired = 0, kOptional = 1 };
enum ErrorCode { kFail = 1, kInvalidArgument = 2 };

// The function table, set once when onnxruntime loads the library.
inline const OrtApiTable* api = nullptr;

// Each at its position in the table.
enum class Function : size_t {
#define ORT_FUNCTION(name, position) name = position,
#include "ort_functions.def"
#undef ORT_FUNCTION
};

// The arguments have exactly the types that onnxruntime declares.
template <Function function, class Result = OrtStatus*, class... Arguments>
Result call(Arguments... arguments) {
  return reinterpret_cast<Result (*)(Arguments...)>(api->entry[static_cast<size_t>(function)])(arguments...);
}

inline OrtStatus* create_status(int code, const char* message) { return call<Function::CreateStatus>(code, message); }
inline OrtStatus* create_domain(const char* name, OrtCustomOpDomain** out) {
  return call<Function::CreateCustomOpDomain>(name, out);
}
inline OrtStatus* add_op(OrtCustomOpDomain* domain, const OrtCustomOp* op) {
  return call<Function::CustomOpDomain_Add>(domain, op);
}
inline OrtStatus* add_domain(OrtSessionOptions* options, OrtCustomOpDomain* domain) {
  return call<Function::AddCustomOpDomain>(options, domain);
}
inline OrtStatus* tensor_data(const OrtValue* value, void** out) {
  return call<Function::GetTensorMutableData>(const_cast<OrtValue*>(value), out);
}
inline OrtStatus* element_type(const OrtTensorTypeAndShapeInfo* info, int* out) {
  return call<Function::GetTensorElementType>(info, out);
}
inline OrtStatus* rank(const OrtTensorTypeAndShapeInfo* info, size_t* out) {
  return call<Function::GetDimensionsCount>(info, out);
}
inline OrtStatus* dimensions(const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t count) {
  return call<Function::GetDimensions>(info, out, count);
}
inline OrtStatus* type_and_shape(const OrtValue* value, OrtTensorTypeAndShapeInfo** out) {
  return call<Function::GetTensorTypeAndShape>(value, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, float* out) {
  return call<Function::KernelInfoGetAttribute_float>(info, name, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, int64_t* out) {
  return call<Function::KernelInfoGetAttribute_int64>(info, name, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, char* out, size_t* size) {
  return call<Function::KernelInfoGetAttribute_string>(info, name, out, size);
}
inline OrtStatus* input(const OrtKernelContext* context, size_t index, const OrtValue** out) {
  return call<Function::KernelContext_GetInput>(context, index, out);
}
inline OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* shape, size_t rank, OrtValue** out) {
  return call<Function::KernelContext_GetOutput>(context, index, shape, rank, out);
}
inline void release(OrtStatus* status) { call<Function::ReleaseStatus, void>(status); }
inline void release(OrtTensorTypeAndShapeInfo* info) { call<Function::ReleaseTensorTypeAndShapeInfo, void>(info); }
inline OrtStatus* constant_input(const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** out) {
  return call<Function::KernelInfoGetConstantInput_tensor>(info, index, is_constant, out);
}
inline OrtStatus* input_count(const OrtKernelInfo* info, size_t* out) {
  return call<Function::KernelInfo_GetInputCount>(info, out);
}
// `batches` pieces of the `total` calls are handed out to the session's own threads.
inline OrtStatus* parallel_for(const OrtKernelContext* context, void (*body)(void*, size_t), size_t total,
                               size_t batches, void* user) {
  return call<Function::KernelContext_ParallelFor>(context, body, total, batches, user);
}

}  // namespace sdp::ort
