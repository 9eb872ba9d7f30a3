// Linear layers on packed activations, each with bias, activation, residual and layer normalization in one pass.
#include <algorithm>
#include <atomic>

#include "operators.h"
#include "sparse_matrix.h"

namespace sdp {

namespace {

constexpr int64_t kMostFeatures = 1 << 20;

// Groups of tokens that one piece of work covers: as many as a sparse product takes at once, so that the norms at the
// end are spread over the threads, too.
constexpr int64_t kChunk = 4;

Activation read_activation(const OrtKernelInfo* info) {
  const std::string name = text(info, "activation");
  if (name == "none") return Activation::none;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  throw Refused("activation is none of none, gelu, gelu_tanh");
}

Packed checked_input(const OrtKernelContext* context, int64_t in_features) {
  const Packed x = packed_input(context, 0);
  require(x.width == in_features, "x has another width than in_features");
  return x;
}

// Runs product(block, first_group, groups, y) for all of a product's blocks and chunks of tokens, then the norm of
// each chunk by whoever finishes its last block.
template <class Product>
void run(OrtKernelContext* context, const Kernels& kernels, const Epilogue& epilogue, const Packed& x, int64_t width,
         int64_t blocks, const Product& product) {
  const float* residual = nullptr;
  if (epilogue.norm) {
    const Packed added = packed_input(context, epilogue.residual_input);
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

// The input of an int8 product: rounded to bytes, one scale for each token.
struct Quantized {
  Packed packed;
  size_t stride;
  Buffer<uint8_t> bytes;
  Buffer<float> scale;

  Quantized(OrtKernelContext* context, const Kernels& kernels, int64_t in_features)
      : packed(checked_input(context, in_features)),
        stride(static_cast<size_t>(in_features) * kTokensPerGroup),
        bytes(static_cast<size_t>(packed.all_groups()) * stride),
        scale(static_cast<size_t>(packed.all_groups()) * kTokensPerGroup) {
    parallel(context, static_cast<size_t>(packed.all_groups()), [&](size_t group) {
      kernels.quantize(packed.data + group * stride, static_cast<int>(in_features), bytes.get() + group * stride,
                       scale.get() + group * kTokensPerGroup);
    });
  }
  const uint8_t* group(int64_t index) const { return bytes.get() + static_cast<size_t>(index) * stride; }
  const float* scales(int64_t index) const { return scale.get() + index * kTokensPerGroup; }
};

// Rows of a dense product that are one piece of work.
constexpr int kDenseBlock = 192;

int64_t dense_blocks(int64_t rows) { return (rows + kDenseBlock - 1) / kDenseBlock; }

int dense_end(int block, int64_t rows) {
  return static_cast<int>(std::min<int64_t>((block + int64_t{1}) * kDenseBlock, rows));
}

// What an int8 product takes, beyond what an fp32 one does.
void check_int8_features(int64_t in_features) {
  require(in_features % 4 == 0, "in_features is not a multiple of 4");
  // A row's sum, 127 * 255 * in_features at most, must fit 32 bits.
  require(in_features <= 1 << 16, "in_features is more than an int8 product can sum");
}

}  // namespace

Epilogue::Epilogue(const OrtKernelInfo* info, size_t first_input, int64_t width)
    : bias(constant<float>(info, first_input)),
      activation(read_activation(info)),
      gamma(constant<float>(info, first_input + 2, true)),
      beta(constant<float>(info, first_input + 3, true)),
      residual_input(first_input + 1) {
  const auto fits = [width](const Tensor<float>& t) { return t.shape == std::vector<int64_t>{width}; };
  require(fits(bias), "bias does not have out_features elements");
  size_t inputs = 0;
  check(ort::input_count(info, &inputs), "the inputs cannot be counted");
  norm = inputs > residual_input;
  if (!norm) return;
  require(gamma && beta && fits(gamma) && fits(beta), "gamma and beta do not have out_features elements");
  require(activation == Activation::none, "an activation and a residual exclude each other");
  epsilon = real(info, "epsilon");
}

SparseLinear::SparseLinear(const OrtKernelInfo* info)
    : kernels_(kernels()),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      matrix_(read_sparse_matrix<float>(info, out_features_, in_features_)),
      epilogue_(info, 5, out_features_) {}

void SparseLinear::compute(OrtKernelContext* context) const {
  const Packed x = checked_input(context, in_features_);
  const ProductF32 product{&matrix_, epilogue_.bias.data, epilogue_.activation};
  const size_t x_stride = static_cast<size_t>(in_features_) * kTokensPerGroup;
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run(context, kernels_, epilogue_, x, out_features_, matrix_.blocks(),
      [&](int block, int64_t first, int groups, float* y) {
        kernels_.sparse_f32(product, block, x.data + first * x_stride, x_stride, groups, y, y_stride);
      });
}

SparseLinearInt8::SparseLinearInt8(const OrtKernelInfo* info)
    : kernels_(kernels()),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      matrix_(read_sparse_matrix<int8_t>(info, out_features_, in_features_ / 4)),
      row_scale_(constant<float>(info, 5)),
      row_sum_(static_cast<size_t>(out_features_), 0),
      epilogue_(info, 6, out_features_) {
  check_int8_features(in_features_);
  require(row_scale_.shape == std::vector<int64_t>{out_features_}, "scales do not have out_features elements");
  const int8_t* value = static_cast<const int8_t*>(matrix_.values);
  const uint8_t* row = matrix_.row;
  const uint16_t* width = matrix_.width;
  for (int block = 0; block < matrix_.blocks(); ++block) {
    const int first = block * matrix_.block;
    const int rows = std::min(matrix_.block, matrix_.rows - first);
    for (int slice = 0; slice < matrix_.slices(); ++slice)
      for (int quad = 0; quad < rows; quad += 4, row += 4, ++width)
        for (int j = 0; j < *width; ++j)
          for (int r = 0; r < 4; ++r, value += 4)
            row_sum_[first + row[r]] += value[0] + value[1] + value[2] + value[3];
  }
}

void SparseLinearInt8::compute(OrtKernelContext* context) const {
  const Quantized x(context, kernels_, in_features_);
  const ProductI8 product{&matrix_, epilogue_.bias.data, row_scale_.data, row_sum_.data(), epilogue_.activation};
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run(context, kernels_, epilogue_, x.packed, out_features_, matrix_.blocks(),
      [&](int block, int64_t first, int count, float* y) {
        kernels_.sparse_i8(product, block, x.group(first), x.stride, x.scales(first), count, y, y_stride);
      });
}

DenseLinear::DenseLinear(const OrtKernelInfo* info)
    : kernels_(kernels()),
      weight_(constant<float>(info, 1)),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      epilogue_(info, 2, out_features_) {
  require(out_features_ % kTokensPerGroup == 0, "out_features is not a multiple of 16");
  require(weight_.shape == std::vector<int64_t>{out_features_ / kTokensPerGroup, in_features_, kTokensPerGroup},
          "the weight does not have the shape [out_features / 16, in_features, 16]");
}

void DenseLinear::compute(OrtKernelContext* context) const {
  const Packed x = checked_input(context, in_features_);
  const ProductF32 product{nullptr, epilogue_.bias.data, epilogue_.activation};
  const size_t x_stride = static_cast<size_t>(in_features_) * kTokensPerGroup;
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run(context, kernels_, epilogue_, x, out_features_, dense_blocks(out_features_),
      [&](int block, int64_t first, int groups, float* y) {
        kernels_.dense_f32(product, weight_.data, block * kDenseBlock, dense_end(block, out_features_),
                           static_cast<int>(in_features_), x.data + first * x_stride, x_stride, groups, y, y_stride);
      });
}

DenseLinearInt8::DenseLinearInt8(const OrtKernelInfo* info)
    : kernels_(kernels()),
      weight_(constant<int8_t>(info, 1)),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      row_scale_(constant<float>(info, 2)),
      row_sum_(static_cast<size_t>(out_features_), 0),
      epilogue_(info, 3, out_features_) {
  check_int8_features(in_features_);
  require(out_features_ % kTokensPerGroup == 0, "out_features is not a multiple of 16");
  require(weight_.shape == std::vector<int64_t>{out_features_ / kTokensPerGroup, in_features_ / 4, kTokensPerGroup, 4},
          "the weight does not have the shape [out_features / 16, in_features / 4, 16, 4]");
  require(row_scale_.shape == std::vector<int64_t>{out_features_}, "scales do not have out_features elements");
  const size_t group = static_cast<size_t>(in_features_) * kTokensPerGroup;
  for (size_t i = 0; i < weight_.size(); ++i)
    row_sum_[i / group * kTokensPerGroup + i / 4 % kTokensPerGroup] += weight_.data[i];
}

void DenseLinearInt8::compute(OrtKernelContext* context) const {
  const Quantized x(context, kernels_, in_features_);
  const ProductI8 product{nullptr, epilogue_.bias.data, row_scale_.data, row_sum_.data(), epilogue_.activation};
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run(context, kernels_, epilogue_, x.packed, out_features_, dense_blocks(out_features_),
      [&](int block, int64_t first, int groups, float* y) {
        kernels_.dense_i8(product, weight_.data, block * kDenseBlock, dense_end(block, out_features_),
                          static_cast<int>(in_features_), x.group(first), x.stride, x.scales(first), groups, y,
                          y_stride);
      });
}

}  // namespace sdp
