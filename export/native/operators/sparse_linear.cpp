// Linear layers with a sparse weight.
#include "linear.h"
#include "sparse_matrix.h"

namespace sdp {

namespace {

class SparseLinear : public Operator {
 public:
  explicit SparseLinear(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  int64_t in_features_, out_features_;
  SparseMatrix matrix_;
  Epilogue epilogue_;
};

class SparseLinearInt8 : public Operator {
 public:
  explicit SparseLinearInt8(const OrtKernelInfo*);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  int64_t in_features_, out_features_;
  SparseMatrix matrix_;
  Tensor<float> row_scale_;
  std::vector<int32_t> row_sum_;
  Epilogue epilogue_;
};

SparseLinear::SparseLinear(const OrtKernelInfo* info)
    : kernels_(kernels()),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      matrix_(read_sparse_matrix<float>(info, sparse_inputs<SparseLinearInputs>(), out_features_, in_features_)),
      epilogue_(info, epilogue_inputs<SparseLinearInputs>(), out_features_) {}

void SparseLinear::compute(OrtKernelContext* context) const {
  const Packed x = linear_input(context, SparseLinearInputs::x, in_features_);
  const ProductF32 product{&matrix_, epilogue_.bias.data, epilogue_.activation};
  const size_t x_stride = static_cast<size_t>(in_features_) * kTokensPerGroup;
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run_product(context, kernels_, epilogue_, x, out_features_, matrix_.blocks(),
              [&](int block, int64_t first, int groups, float* y) {
                kernels_.sparse_f32(product, block, x.data + first * x_stride, x_stride, groups, y, y_stride);
              });
}

SparseLinearInt8::SparseLinearInt8(const OrtKernelInfo* info)
    : kernels_(kernels()),
      in_features_(integer(info, "in_features", 1, kMostFeatures)),
      out_features_(integer(info, "out_features", 1, kMostFeatures)),
      matrix_(
          read_sparse_matrix<int8_t>(info, sparse_inputs<SparseLinearInt8Inputs>(), out_features_, in_features_ / 4)),
      row_scale_(constant<float>(info, SparseLinearInt8Inputs::scale)),
      row_sum_(static_cast<size_t>(out_features_), 0),
      epilogue_(info, epilogue_inputs<SparseLinearInt8Inputs>(), out_features_) {
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
          for (int r = 0; r < 4; ++r, value += 4) row_sum_[first + row[r]] += value[0] + value[1] + value[2] + value[3];
  }
}

void SparseLinearInt8::compute(OrtKernelContext* context) const {
  const Quantized x(context, kernels_, linear_input(context, SparseLinearInt8Inputs::x, in_features_));
  const ProductI8 product{&matrix_, epilogue_.bias.data, row_scale_.data, row_sum_.data(), epilogue_.activation};
  const size_t y_stride = static_cast<size_t>(out_features_) * kTokensPerGroup;
  run_product(context, kernels_, epilogue_, x.packed, out_features_, matrix_.blocks(),
              [&](int block, int64_t first, int count, float* y) {
                kernels_.sparse_i8(product, block, x.group(first), x.stride, x.scales(first), count, y, y_stride);
              });
}

}  // namespace

std::unique_ptr<Operator> make_SparseLinear(const OrtKernelInfo* info) { return std::make_unique<SparseLinear>(info); }
std::unique_ptr<Operator> make_SparseLinearInt8(const OrtKernelInfo* info) {
  return std::make_unique<SparseLinearInt8>(info);
}

}  // namespace sdp
