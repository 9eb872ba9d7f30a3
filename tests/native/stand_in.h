// A stand-in for onnxruntime: the few functions that the operator library calls, over tensors in plain memory. It gives
// an operator any input and attribute, valid or not, as a hostile model would.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ort_api.h"

struct OrtStatus {
  std::string message;
};

// Memory of exactly the size asked for, so that the sanitizer sees one byte beyond it; none for an empty tensor, as
// onnxruntime may.
struct OrtValue {
  int type = 0;
  std::vector<int64_t> shape;
  std::shared_ptr<char> data;

  // The data begins `offset` bytes into its memory: malloc's alignment is more than a tensor's element promises.
  static OrtValue of(int type, std::vector<int64_t> shape, size_t bytes, int fill = 0, size_t offset = 0) {
    OrtValue value{type, std::move(shape), nullptr};
    if (bytes == 0) return value;
    const std::shared_ptr<char> memory(static_cast<char*>(std::malloc(offset + bytes)), std::free);
    std::memset(memory.get(), fill, offset + bytes);
    value.data = {memory, memory.get() + offset};
    return value;
  }
};

struct OrtTensorTypeAndShapeInfo {
  const OrtValue* value;
};

struct Input {
  OrtValue value;
  bool constant = false;
  bool given = true;
};

struct OrtKernelInfo {
  std::map<std::string, int64_t> integers;
  std::map<std::string, float> reals;
  std::map<std::string, std::string> texts;
  std::vector<Input> inputs;
};

struct OrtKernelContext {
  const OrtKernelInfo* info;
  int fill;  // the bytes of an output before it is written
  std::vector<std::unique_ptr<OrtValue>> outputs;
};

namespace stand_in {

inline std::map<std::string, const OrtCustomOp*>& operators() {
  static std::map<std::string, const OrtCustomOp*> found;
  return found;
}

inline OrtStatus* failure(const char* message) { return new OrtStatus{message}; }

template <class Map, class Value>
OrtStatus* look_up(const Map& map, const char* name, Value* out) {
  const auto found = map.find(name);
  if (found == map.end()) return failure("no such attribute");
  *out = found->second;
  return nullptr;
}

// More than an output of any case here needs: beyond it the stand-in is out of memory.
constexpr int64_t kMostOutputElements = 1 << 22;

inline OrtStatus* make_output(OrtKernelContext* context, size_t, const int64_t* shape, size_t rank, OrtValue** out) {
  int64_t elements = 1;
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] < 0 || (shape[i] > 0 && elements > kMostOutputElements / shape[i])) return failure("too large");
    elements *= shape[i];
  }
  context->outputs.push_back(std::make_unique<OrtValue>(
      OrtValue::of(sdp::ort::kFloat, {shape, shape + rank}, static_cast<size_t>(elements) * 4, context->fill)));
  *out = context->outputs.back().get();
  return nullptr;
}

inline const OrtApiTable& table() {
  static const OrtApiTable made = [] {
    OrtApiTable t{};
    using sdp::ort::Function;
    const auto set = [&t](Function at, auto* function) {
      t.entry[static_cast<size_t>(at)] = reinterpret_cast<void*>(function);
    };
    set(
        Function::CreateStatus, +[](int, const char* message) { return failure(message); });
    set(
        Function::CreateCustomOpDomain, +[](const char*, OrtCustomOpDomain** out) -> OrtStatus* {
          static char domain;
          *out = reinterpret_cast<OrtCustomOpDomain*>(&domain);
          return nullptr;
        });
    set(
        Function::CustomOpDomain_Add, +[](OrtCustomOpDomain*, const OrtCustomOp* op) -> OrtStatus* {
          operators()[op->GetName(op)] = op;
          return nullptr;
        });
    set(
        Function::AddCustomOpDomain, +[](OrtSessionOptions*, OrtCustomOpDomain*) -> OrtStatus* { return nullptr; });
    set(
        Function::GetTensorMutableData, +[](OrtValue* value, void** out) -> OrtStatus* {
          *out = value->data.get();
          return nullptr;
        });
    set(
        Function::GetTensorElementType, +[](const OrtTensorTypeAndShapeInfo* info, int* out) -> OrtStatus* {
          *out = info->value->type;
          return nullptr;
        });
    set(
        Function::GetDimensionsCount, +[](const OrtTensorTypeAndShapeInfo* info, size_t* out) -> OrtStatus* {
          *out = info->value->shape.size();
          return nullptr;
        });
    set(
        Function::GetDimensions, +[](const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t count) -> OrtStatus* {
          for (size_t i = 0; i < count; ++i) out[i] = info->value->shape[i];
          return nullptr;
        });
    set(
        Function::GetTensorTypeAndShape, +[](const OrtValue* value, OrtTensorTypeAndShapeInfo** out) -> OrtStatus* {
          *out = new OrtTensorTypeAndShapeInfo{value};
          return nullptr;
        });
    set(
        Function::KernelInfoGetAttribute_float,
        +[](const OrtKernelInfo* info, const char* name, float* out) { return look_up(info->reals, name, out); });
    set(
        Function::KernelInfoGetAttribute_int64,
        +[](const OrtKernelInfo* info, const char* name, int64_t* out) { return look_up(info->integers, name, out); });
    set(
        Function::KernelInfoGetAttribute_string,
        +[](const OrtKernelInfo* info, const char* name, char* out, size_t* size) -> OrtStatus* {
          const auto found = info->texts.find(name);
          if (found == info->texts.end()) return failure("no such attribute");
          if (out != nullptr) std::memcpy(out, found->second.c_str(), *size);
          *size = found->second.size() + 1;
          return nullptr;
        });
    set(
        Function::KernelContext_GetInput,
        +[](const OrtKernelContext* context, size_t index, const OrtValue** out) -> OrtStatus* {
          if (index >= context->info->inputs.size()) return failure("no such input");
          const Input& input = context->info->inputs[index];
          *out = input.given ? &input.value : nullptr;
          return nullptr;
        });
    set(Function::KernelContext_GetOutput, &make_output);
    set(
        Function::ReleaseStatus, +[](OrtStatus* status) { delete status; });
    set(
        Function::ReleaseTensorTypeAndShapeInfo, +[](OrtTensorTypeAndShapeInfo* info) { delete info; });
    set(
        Function::KernelInfo_GetInputCount, +[](const OrtKernelInfo* info, size_t* out) -> OrtStatus* {
          *out = info->inputs.size();
          return nullptr;
        });
    set(
        Function::KernelInfoGetConstantInput_tensor,
        +[](const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** out) -> OrtStatus* {
          if (index >= info->inputs.size()) return failure("no such input");
          const Input& input = info->inputs[index];
          *is_constant = input.constant && input.given;
          *out = *is_constant ? &input.value : nullptr;
          return nullptr;
        });
    set(
        Function::KernelContext_ParallelFor,
        +[](const OrtKernelContext*, void (*body)(void*, size_t), size_t total, size_t, void* user) -> OrtStatus* {
          for (size_t i = 0; i < total; ++i) body(user, i);
          return nullptr;
        });
    return t;
  }();
  return made;
}

}  // namespace stand_in
