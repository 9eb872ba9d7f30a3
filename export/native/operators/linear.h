// What the linear operators share: the work in pieces, the int8 input, and bias, activation, residual and norm.
#pragma once

#include <algorithm>
#include <atomic>

#include "operators.h"

namespace sdp {

constexpr int64_t kMostFeatures = 1 << 20;

// Groups of tokens that one piece of work covers: as many as a sparse product takes at once, so that the norms at the
// end are spread over the threads, too.
constexpr int64_t kChunk = 4;

// The attribute of that name.
Activation read_activation(const OrtKernelInfo*);

struct EpilogueInputs {
  size_t bias, residual, gamma, beta;
};

// The positions in a linear operator's row of operators.def.
template <class Inputs>
constexpr EpilogueInputs epilogue_inputs() {
  return {Inputs::bias, Inputs::residual, Inputs::gamma, Inputs::beta};
}

// What follows a product: an activation, or the sum with a residual and its layer normalization.
struct Epilogue {
  Epilogue(const OrtKernelInfo*, const EpilogueInputs&, int64_t width);

  EpilogueInputs inputs;
  Tensor<float> bias;
  Activation activation;
  bool norm;  // a residual is given
  Tensor<float> gamma, beta;
  float epsilon = 0;
};

// The packed activations that a linear operator multiplies.
Packed linear_input(const OrtKernelContext*, size_t index, int64_t in_features);

// What an int8 product takes, beyond what an fp32 one does.
void check_int8_features(int64_t in_features);

// The input of an int8 product: rounded to bytes, one scale for each token.
struct Quantized {
  Packed packed;
  size_t stride;
  Buffer<uint8_t> bytes;
  Buffer<float> scale;

  Quantized(OrtKernelContext* context, const Kernels& kernels, const Packed& x)
      : packed(x),
        stride(static_cast<size_t>(x.width) * kTokensPerGroup),
        bytes(static_cast<size_t>(packed.all_groups()) * stride),
        scale(static_cast<size_t>(packed.all_groups()) * kTokensPerGroup) {
    parallel(context, static_cast<size_t>(packed.all_groups()), [&](size_t group) {
      kernels.quantize(packed.data + group * stride, static_cast<int>(packed.width), bytes.get() + group * stride,
                       scale.get() + group * kTokensPerGroup);
    });
  }
  const uint8_t* group(int64_t index) const { return bytes.get() + static_cast<size_t>(index) * stride; }
  const float* scales(int64_t index) const { return scale.get() + index * kTokensPerGroup; }
};

// Runs product(block, first_group, groups, y) for all of a product's blocks and chunks of tokens, then the norm of
// each chunk by the thread that finishes its last block.
template <class Product>
void run_product(OrtKernelContext* context, const Kernels& kernels, const Epilogue& epilogue, const Packed& x,
                 int64_t width, int64_t blocks, const Product& product) {
  const float* residual = nullptr;
  if (epilogue.norm) {
    const Packed added = packed_input(context, epilogue.inputs.residual);
    require(added.batch == x.batch && added.groups == x.groups && added.width == width,
            "the residual has another shape than the output");
    residual = added.data;
  }
  float* y = output(context, {x.batch, x.groups, width, kTokensPerGroup});
  const int64_t groups = x.all_groups();
  const int64_t chunks = (groups + kChunk - 1) / kChunk;
  std::vector<std::atomic<int64_t>> left(epilogue.norm ? chunks : 0);
  for (auto& blocks_left : left) blocks_left.store(blocks, std::memory_order_relaxed);
  const size_t stride = static_cast<size_t>(width) * kTokensPerGroup;

  parallel(context, static_cast<size_t>(chunks * blocks), [&](size_t index) {
    const auto chunk = static_cast<int64_t>(index) / blocks;
    const int64_t first = chunk * kChunk;
    const int64_t last = std::min(first + kChunk, groups);
    product(static_cast<int>(static_cast<int64_t>(index) % blocks), first, static_cast<int>(last - first),
            y + first * stride);
    if (epilogue.norm && left[chunk].fetch_sub(1, std::memory_order_acq_rel) == 1)
      for (int64_t group = first; group < last; ++group)
        kernels.layer_norm(y + group * stride, residual + group * stride, epilogue.gamma.data, epilogue.beta.data,
                           epilogue.epsilon, static_cast<int>(width), y + group * stride);
  });
}

}  // namespace sdp
