// The operators of domain `sdp`. Each is a class with a constructor that reads and checks attributes and weights, and
// `compute`; operators/library.cpp gives them to onnxruntime.
#pragma once

#include <optional>

#include "cpu.h"
#include "kernels.h"
#include "tensors.h"

namespace sdp {

// Inputs: x [..., tokens, width]. Output: packed, [batch, ceil(tokens / 16), width, 16].
class Pack {
 public:
  explicit Pack(const OrtKernelInfo*) : kernels_(kernels()) {}
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
};

// Inputs: packed activations; tokens int64 [1]. Output: [batch, tokens, width].
class Unpack {
 public:
  explicit Unpack(const OrtKernelInfo*) : kernels_(kernels()) {}
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
};

// What follows a product: an activation, or the sum with a residual and its layer normalization.
struct Epilogue {
  Epilogue(const OrtKernelInfo*, size_t first_input, int64_t width);

  Tensor<float> bias;
  Activation activation;
  bool norm;  // inputs first_input + 1 to + 3: residual (packed), gamma, beta
  Tensor<float> gamma, beta;
  float epsilon = 0;
  size_t residual_input;
};

// Inputs: x packed; values f32 [elements]; columns u8 [elements]; rows u8; widths u16; bias; and, for the norm,
// residual packed, gamma, beta. Attributes: in_features, out_features, slice, block, activation, epsilon.
class SparseLinear {
 public:
  explicit SparseLinear(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
  int64_t in_features_, out_features_;
  SparseMatrix matrix_;
  Epilogue epilogue_;
};

// The same with int8 weights in 1x4 blocks: values s8 [elements, 4], and after `widths` the scale of each row.
class SparseLinearInt8 {
 public:
  explicit SparseLinearInt8(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
  int64_t in_features_, out_features_;
  SparseMatrix matrix_;
  Tensor<float> row_scale_;
  std::vector<int32_t> row_sum_;
  Epilogue epilogue_;
};

// Inputs: x packed; weight f32 packed like activations, [out_features / 16, in_features, 16]; then as SparseLinear.
class DenseLinear {
 public:
  explicit DenseLinear(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
  Tensor<float> weight_;
  int64_t in_features_, out_features_;
  Epilogue epilogue_;
};

// The same with int8 weights: weight s8 [out_features / 16, in_features / 4, 16, 4], the scale of each row, then as
// SparseLinear.
class DenseLinearInt8 {
 public:
  explicit DenseLinearInt8(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const;

 private:
  const Kernels& kernels_;
  Tensor<int8_t> weight_;
  int64_t in_features_, out_features_;
  Tensor<float> row_scale_;
  std::vector<int32_t> row_sum_;
  Epilogue epilogue_;
};

// Inputs: q, k, v packed; tokens int64 [1]; optionally mask bool, [1 or batch, 1 or heads, 1 or tokens, tokens],
// true where a query sees a key. Attributes: heads, head_size, q_first, k_first, v_first (the first feature of each), scale.
class PackedAttention {
 public:
  explicit PackedAttention(const OrtKernelInfo* info) : PackedAttention(info, false) {}
  void compute(OrtKernelContext*) const;

 protected:
  PackedAttention(const OrtKernelInfo*, bool int8);

 private:
  const Kernels& kernels_;
  bool int8_;
  int64_t heads_, head_size_, q_first_, k_first_, v_first_;
  float scale_;  // to base 2
  bool masked_;
};

// The same on bytes, where there are so many keys that it gains.
class PackedAttentionInt8 : public PackedAttention {
 public:
  explicit PackedAttentionInt8(const OrtKernelInfo* info) : PackedAttention(info, true) {}
};

}  // namespace sdp
