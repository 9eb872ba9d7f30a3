// onnxruntime's tensors, attributes and threads as C++ values. Whatever a model gets wrong is thrown as `Refused` and
// turned into a status at the library's boundary (operators/library.cpp).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_api.h"

namespace sdp {

// What is wrong with a model or its inputs.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws what onnxruntime itself reports.
inline void check(OrtStatus* status, const char* what) {
  if (status == nullptr) return;
  ort::release(status);
  throw Refused(what);
}

inline void require(bool holds, const char* otherwise) {
  if (!holds) throw Refused(otherwise);
}

template <class T>
constexpr int element_type_of() {
  if constexpr (std::is_same_v<T, float>) return ort::kFloat;
  if constexpr (std::is_same_v<T, uint8_t>) return ort::kUint8;
  if constexpr (std::is_same_v<T, int8_t>) return ort::kInt8;
  if constexpr (std::is_same_v<T, uint16_t>) return ort::kUint16;
  if constexpr (std::is_same_v<T, int64_t>) return ort::kInt64;
  if constexpr (std::is_same_v<T, bool>) return ort::kBool;
}

template <class T>
struct Tensor {
  const T* data = nullptr;
  std::vector<int64_t> shape;

  explicit operator bool() const { return data != nullptr; }
  size_t size() const {
    size_t product = 1;
    for (int64_t dimension : shape) product *= static_cast<size_t>(dimension);
    return product;
  }
};

template <class T>
Tensor<T> read_tensor(const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(ort::type_and_shape(value, &info), "an input is not a tensor");
  struct Release {
    void operator()(OrtTensorTypeAndShapeInfo* held) const { ort::release(held); }
  };
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, Release> held(info);
  int type = 0;
  size_t rank = 0;
  check(ort::element_type(info, &type), "an input has no element type");
  require(type == element_type_of<T>(), "an input has another element type than the operator takes");
  check(ort::rank(info, &rank), "an input has no shape");
  Tensor<T> tensor;
  tensor.shape.resize(rank);
  check(ort::dimensions(info, tensor.shape.data(), rank), "an input has no shape");
  // An empty tensor's other dimensions may be anything: without a limit, products of them overflow.
  constexpr int64_t kMostElements = int64_t{1} << 40;
  int64_t elements = 1;
  for (int64_t dimension : tensor.shape) {
    require(dimension >= 0, "an input has a negative dimension");
    require(dimension <= kMostElements / elements, "an input is too large");
    elements *= dimension > 0 ? dimension : 1;
  }
  void* data = nullptr;
  check(ort::tensor_data(value, &data), "an input has no data");
  // onnxruntime may give an empty tensor no memory; a null pointer means "not given" here.
  static T nothing{};
  tensor.data = data == nullptr ? &nothing : static_cast<const T*>(data);
  require(reinterpret_cast<uintptr_t>(tensor.data) % alignof(T) == 0, "an input's data is not aligned");
  return tensor;
}

inline size_t input_count(const OrtKernelInfo* info) {
  size_t count = 0;
  check(ort::input_count(info, &count), "the inputs cannot be counted");
  return count;
}

// An initializer that no one can replace at run time, so that it is checked once; empty if an optional one is missing.
template <class T>
Tensor<T> constant(const OrtKernelInfo* info, size_t index, bool optional = false) {
  int is_constant = 0;
  const OrtValue* value = nullptr;
  if (index < input_count(info))
    check(ort::constant_input(info, index, &is_constant, &value), "an input cannot be read");
  if (is_constant == 0 || value == nullptr) {
    require(optional, "weights must be initializers of the model, not inputs");
    return {};
  }
  return read_tensor<T>(value);
}

inline int64_t integer(const OrtKernelInfo* info, const char* name, int64_t lowest, int64_t highest) {
  int64_t value = 0;
  check(ort::attribute(info, name, &value), "an integer attribute is missing");
  if (value < lowest || value > highest) throw Refused(std::string("attribute ") + name + " is out of range");
  return value;
}

// Whether an attribute that may be missing is 1.
inline bool flag(const OrtKernelInfo* info, const char* name) {
  int64_t value = 0;
  if (OrtStatus* missing = ort::attribute(info, name, &value)) {
    ort::release(missing);
    return false;
  }
  return value == 1;
}

inline float real(const OrtKernelInfo* info, const char* name) {
  float value = 0;
  check(ort::attribute(info, name, &value), "a float attribute is missing");
  return value;
}

inline std::string text(const OrtKernelInfo* info, const char* name) {
  size_t size = 0;
  check(ort::attribute(info, name, nullptr, &size), "a text attribute is missing");
  require(size > 0 && size < 64, "a text attribute is too long");
  std::string value(size, '\0');
  check(ort::attribute(info, name, value.data(), &size), "a text attribute is missing");
  value.resize(size - 1);
  return value;
}

template <class T>
Tensor<T> input(const OrtKernelContext* context, size_t index) {
  const OrtValue* value = nullptr;
  check(ort::input(context, index, &value), "an input is missing");
  require(value != nullptr, "an input is missing");
  return read_tensor<T>(value);
}

inline float* output(OrtKernelContext* context, const std::vector<int64_t>& shape) {
  OrtValue* value = nullptr;
  check(ort::output(context, 0, shape.data(), shape.size(), &value), "the output cannot be allocated");
  void* data = nullptr;
  check(ort::tensor_data(value, &data), "the output cannot be written");
  return static_cast<float*>(data);
}

// Calls body(i) for i < total on the session's threads, any order, several at once; `body` must not throw.
template <class Body>
void parallel(const OrtKernelContext* context, size_t total, Body&& body) {
  if (total == 0) return;
  if (total == 1) return body(0);
  const auto call = [](void* user, size_t index) { (*static_cast<std::remove_reference_t<Body>*>(user))(index); };
  check(ort::parallel_for(context, call, total, total, &body), "onnxruntime's thread pool refused the work");
}

// Memory at the alignment of a cache line: a vector that straddles two lines takes twice as long to load.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : data_(static_cast<T*>(::operator new(size * sizeof(T), kLine))) {}
  T* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(T* data) const { ::operator delete(data, kLine); }
  };
  std::unique_ptr<T, Free> data_;
};

// Packed activations [batch][groups][width][16]: see kernels.h.
struct Packed {
  const float* data;
  int64_t batch, groups, width;
  int64_t all_groups() const { return batch * groups; }
};

inline Packed packed_input(const OrtKernelContext* context, size_t index) {
  const Tensor<float> x = input<float>(context, index);
  require(x.shape.size() == 4 && x.shape[3] == 16, "packed activations have the shape [batch, groups, width, 16]");
  require(x.shape[2] <= 1 << 20 && x.shape[0] * x.shape[1] < int64_t{1} << 31, "packed activations are too large");
  return {x.data, x.shape[0], x.shape[1], x.shape[2]};
}

}  // namespace sdp
