// The few entries of onnxruntime's C interface that this library uses, declared by position.
//
// onnxruntime promises that its function table only grows at the end, so that a position never changes its meaning.
// The positions below are those of API version 17 (onnxruntime 1.17), the oldest that has all of them.
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
  void* entry[278];
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

template <size_t position, class Result, class... Arguments>
Result call(Arguments... arguments) {
  return reinterpret_cast<Result (*)(Arguments...)>(api->entry[position])(arguments...);
}

inline OrtStatus* create_status(int code, const char* message) {
  return call<0, OrtStatus*, int, const char*>(code, message);
}
inline OrtStatus* create_domain(const char* name, OrtCustomOpDomain** out) {
  return call<26, OrtStatus*, const char*, OrtCustomOpDomain**>(name, out);
}
inline OrtStatus* add_op(OrtCustomOpDomain* domain, const OrtCustomOp* op) {
  return call<27, OrtStatus*, OrtCustomOpDomain*, const OrtCustomOp*>(domain, op);
}
inline OrtStatus* add_domain(OrtSessionOptions* options, OrtCustomOpDomain* domain) {
  return call<28, OrtStatus*, OrtSessionOptions*, OrtCustomOpDomain*>(options, domain);
}
inline OrtStatus* tensor_data(const OrtValue* value, void** out) {
  return call<51, OrtStatus*, OrtValue*, void**>(const_cast<OrtValue*>(value), out);
}
inline OrtStatus* element_type(const OrtTensorTypeAndShapeInfo* info, int* out) {
  return call<60, OrtStatus*, const OrtTensorTypeAndShapeInfo*, int*>(info, out);
}
inline OrtStatus* rank(const OrtTensorTypeAndShapeInfo* info, size_t* out) {
  return call<61, OrtStatus*, const OrtTensorTypeAndShapeInfo*, size_t*>(info, out);
}
inline OrtStatus* dimensions(const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t count) {
  return call<62, OrtStatus*, const OrtTensorTypeAndShapeInfo*, int64_t*, size_t>(info, out, count);
}
inline OrtStatus* type_and_shape(const OrtValue* value, OrtTensorTypeAndShapeInfo** out) {
  return call<65, OrtStatus*, const OrtValue*, OrtTensorTypeAndShapeInfo**>(value, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, float* out) {
  return call<85, OrtStatus*, const OrtKernelInfo*, const char*, float*>(info, name, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, int64_t* out) {
  return call<86, OrtStatus*, const OrtKernelInfo*, const char*, int64_t*>(info, name, out);
}
inline OrtStatus* attribute(const OrtKernelInfo* info, const char* name, char* out, size_t* size) {
  return call<87, OrtStatus*, const OrtKernelInfo*, const char*, char*, size_t*>(info, name, out, size);
}
inline OrtStatus* input(const OrtKernelContext* context, size_t index, const OrtValue** out) {
  return call<90, OrtStatus*, const OrtKernelContext*, size_t, const OrtValue**>(context, index, out);
}
inline OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* shape, size_t rank, OrtValue** out) {
  return call<91, OrtStatus*, OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**>(context, index, shape,
                                                                                            rank, out);
}
inline void release(OrtStatus* status) { call<93, void, OrtStatus*>(status); }
inline void release(OrtTensorTypeAndShapeInfo* info) { call<99, void, OrtTensorTypeAndShapeInfo*>(info); }
inline OrtStatus* constant_input(const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** out) {
  return call<249, OrtStatus*, const OrtKernelInfo*, size_t, int*, const OrtValue**>(info, index, is_constant, out);
}
inline OrtStatus* input_count(const OrtKernelInfo* info, size_t* out) {
  return call<230, OrtStatus*, const OrtKernelInfo*, size_t*>(info, out);
}
// `batches` pieces of the `total` calls are handed out to the session's own threads.
inline OrtStatus* parallel_for(const OrtKernelContext* context, void (*body)(void*, size_t), size_t total,
                               size_t batches, void* user) {
  return call<274, OrtStatus*, const OrtKernelContext*, void (*)(void*, size_t), size_t, size_t, void*>(
      context, body, total, batches, user);
}

}  // namespace sdp::ort
