// Linear layers with a dense weight.
#include "linear.h"

namespace sdp {

namespace {

// Rows of a dense product that are one piece of work.
constexpr int kDenseBlock = 192;

int64_t dense_blocks(int64_t rows) { return (rows + kDenseBlock - 1) / kDenseBlock; }

int dense_end(int block, int64_t rows) {
  return static_cast<int>(std::min<int64_t>((block + int64_t{1}) * kDenseBlock, rows));
}

class DenseLinear : public Operator {
 public:
  explicit DenseLinear(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  Tensor<float> weight_;
  int64_t in_features_, out_features_;
  Epilogue epilogue_;
};

class DenseLinearInt8 : public Operator {
 public:
  explicit DenseLinearInt8(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  Tensor<int8_t> weight_;
  int64_t in_features_, out_features_;
  Tensor<float> row_scale_;
  std::vector<int32_t> row_sum_;
  Epilogue epilogue_;
};

DenseLinear::DenseLinear(const OrtKernelInfo* info)
    : kernels_(kernels()),
      weight_(constant<float>(info, DenseLinearInputs::grouped)),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      epilogue_(info, epilogue_inputs<DenseLinearInputs>(), out_features_) {
  require(out_features_ % kTokensPerGroup == 0, "out_features is not a multiple of 16");
  require(weight_.shape == std::vector<int64_t>{out_features_ / kTokensPerGroup, in_features_, kTokensPerGroup},
          "the weight does not have the shape [out_features / 16, in_features, 16]");
}

void DenseLinear::compute(OrtKernelContext* context) const {
  const Packed x = linear_input(context, DenseLinearInputs::x, in_features_);
  const ProductF32 product{nullptr, epilogue_.bias.data, epilogue_.activation};
  const size_t x_stride = static_cast<size_t>(in_features_) * kTokensPerGroup;
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run_product(context, kernels_, epilogue_, x, out_features_, dense_blocks(out_features_),
              [&](int block, int64_t first, int groups, float* y) {
                kernels_.dense_f32(product, weight_.data, block * kDenseBlock, dense_end(block, out_features_),
                                   static_cast<int>(in_features_), x.data + first * x_stride, x_stride, groups, y,
                                   y_stride);
              });
}

DenseLinearInt8::DenseLinearInt8(const OrtKernelInfo* info)
    : kernels_(kernels()),
      weight_(constant<int8_t>(info, DenseLinearInt8Inputs::grouped)),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      row_scale_(constant<float>(info, DenseLinearInt8Inputs::scale)),
      row_sum_(static_cast<size_t>(out_features_), 0),
      epilogue_(info, epilogue_inputs<DenseLinearInt8Inputs>(), out_features_) {
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
  const Quantized x(context, kernels_, linear_input(context, DenseLinearInt8Inputs::x, in_features_));
  const ProductI8 product{nullptr, epilogue_.bias.data, row_scale_.data, row_sum_.data(), epilogue_.activation};
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run_product(context, kernels_, epilogue_, x.packed, out_features_, dense_blocks(out_features_),
              [&](int block, int64_t first, int groups, float* y) {
                kernels_.dense_i8(product, weight_.data, block * kDenseBlock, dense_end(block, out_features_),
                                  static_cast<int>(in_features_), x.group(first), x.stride, x.scales(first), groups, y,
                                  y_stride);
              });
}

}  // namespace

std::unique_ptr<Operator> make_DenseLinear(const OrtKernelInfo* info) { return std::make_unique<DenseLinear>(info); }
std::unique_ptr<Operator> make_DenseLinearInt8(const OrtKernelInfo* info) {
  return std::make_unique<DenseLinearInt8>(info);
}

}  // namespace sdp
