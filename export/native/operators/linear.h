// What the linear operators share: the work in pieces, the int8 input, and bias, activation, residual and norm.
#pragma once

#include <algorithm>
#include <type_traits>

#include "operators.h"
#include "schedule.h"

namespace sdp {

constexpr int64_t kMostFeatures = 1 << 20;

// Groups of tokens that one piece of work covers: as many as a sparse product takes at once, so that the norms at the
// end are spread over the threads, too.
constexpr int64_t kChunk = 4;

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
class Quantized {
 public:
  Quantized(const Kernels& kernels, const Packed& x)
      : kernels_(kernels),
        x_(x),
        stride_(static_cast<size_t>(x.width) * kTokensPerGroup),
        bytes_(static_cast<size_t>(x.all_groups()) * stride_),
        scale_(static_cast<size_t>(x.all_groups()) * kTokensPerGroup) {}
  void round(int64_t group) const {
    const size_t at = static_cast<size_t>(group) * stride_;
    kernels_.quantize(x_.data + at, static_cast<int>(x_.width), bytes_.get() + at,
                      scale_.get() + group * kTokensPerGroup);
  }
  size_t stride() const { return stride_; }
  const uint8_t* group(int64_t index) const { return bytes_.get() + static_cast<size_t>(index) * stride_; }
  const float* scales(int64_t index) const { return scale_.get() + index * kTokensPerGroup; }

 private:
  const Kernels& kernels_;
  const Packed x_;
  size_t stride_;
  Buffer<uint8_t> bytes_;
  Buffer<float> scale_;
};

// An input that is multiplied as it is.
struct AsItIs {
  void round(int64_t) const {}
};

// Runs product(block, first_group, groups, y) for all of a product's blocks and chunks of tokens. Before a chunk's product
// its groups are rounded, and after it they are normalized, each by whichever thread is free.
template <class Input, class Product>
void run_product(OrtKernelContext* context, const Kernels& kernels, const Epilogue& epilogue, const Packed& x,
                 const Input& input, int64_t width, int64_t blocks, const Product& product) {
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
  constexpr bool kRounds = !std::is_same_v<Input, AsItIs>;
  const auto groups_of = [&](int64_t chunk) { return std::min(kChunk, groups - chunk * kChunk); };
  std::vector<Gate> rounded, multiplied;
  struct Piece {
    enum Kind { round, multiply, normalize } kind;
    int64_t chunk, part;
  };
  std::vector<Piece> pieces;
  const auto add = [&](typename Piece::Kind kind, int64_t chunk, int64_t parts) {
    for (int64_t part = 0; part < parts; ++part) pieces.push_back({kind, chunk, part});
  };
  // One chunk ahead and one behind, so that no thread waits where another piece could be done.
  for (int64_t chunk = 0; chunk <= chunks + 1; ++chunk) {
    if (chunk < chunks && kRounds) add(Piece::round, chunk, groups_of(chunk));
    if (chunk < chunks) rounded.emplace_back(kRounds ? groups_of(chunk) : 0), multiplied.emplace_back(blocks);
    if (const int64_t here = kRounds ? chunk - 1 : chunk; here >= 0 && here < chunks) add(Piece::multiply, here, blocks);
    if (const int64_t here = chunk - 2; epilogue.norm && here >= 0 && here < chunks)
      add(Piece::normalize, here, groups_of(here));
  }
  const size_t stride = static_cast<size_t>(width) * kTokensPerGroup;
  in_order(context, pieces.size(), [&](size_t index) {
    const Piece& piece = pieces[index];
    const auto chunk = static_cast<size_t>(piece.chunk);
    const int64_t first = piece.chunk * kChunk;
    if (piece.kind == Piece::round) {
      input.round(first + piece.part);
      rounded[chunk].done();
    } else if (piece.kind == Piece::multiply) {
      rounded[chunk].wait();
      product(static_cast<int>(piece.part), first, static_cast<int>(groups_of(piece.chunk)), y + first * stride);
      multiplied[chunk].done();
    } else {
      multiplied[chunk].wait();
      const size_t at = static_cast<size_t>(first + piece.part) * stride;
      kernels.layer_norm(y + at, residual + at, epilogue.gamma.data, epilogue.beta.data, epilogue.epsilon,
                         static_cast<int>(width), y + at);
    }
  });
}

}  // namespace sdp
