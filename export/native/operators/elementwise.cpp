// Operators on packed activations that compute each token by itself: sums, norms and gates.
#include <algorithm>

#include "linear.h"

namespace sdp {

namespace {

// `compute_group(x, y)` for each group of 16 tokens.
template <class ComputeGroup>
void for_each_group(const OrtKernelContext* context, const Packed& x, float* y, int64_t y_width,
                    const ComputeGroup& compute_group) {
  const int64_t x_stride = x.width * kTokensPerGroup, y_stride = y_width * kTokensPerGroup;
  parallel(context, static_cast<size_t>(x.all_groups()), [&](size_t group) {
    const auto g = static_cast<int64_t>(group);
    compute_group(x.data + g * x_stride, y + g * y_stride);
  });
}

class PackedAdd : public Operator {
 public:
  explicit PackedAdd(const OrtKernelInfo*) {}
  void compute(OrtKernelContext* context) const override {
    const Packed x = packed_input(context, PackedAddInputs::x), other = packed_input(context, PackedAddInputs::y);
    require(x.batch == other.batch && x.groups == other.groups && x.width == other.width, "x and y differ in shape");
    float* sum = output(context, {x.batch, x.groups, x.width, kTokensPerGroup});
    const int64_t elements = x.width * kTokensPerGroup;
    for_each_group(context, x, sum, x.width, [&](const float* from, float* to) {
      std::transform(from, from + elements, other.data + (from - x.data), to, [](float a, float b) { return a + b; });
    });
  }
};

class PackedNorm : public Operator {
 public:
  explicit PackedNorm(const OrtKernelInfo* info)
      : kernels_(kernels()),
        gamma_(constant<float>(info, PackedNormInputs::gamma)),
        beta_(constant<float>(info, PackedNormInputs::beta, true)),
        epsilon_(real(info, "epsilon")) {
    require(gamma_.shape.size() == 1 && (!beta_ || beta_.shape == gamma_.shape), "gamma and beta differ in shape");
  }
  void compute(OrtKernelContext* context) const override {
    const Packed x = packed_input(context, PackedNormInputs::x);
    require(gamma_.shape[0] == x.width, "gamma has another width than x");
    float* y = output(context, {x.batch, x.groups, x.width, kTokensPerGroup});
    const int width = static_cast<int>(x.width);
    for_each_group(context, x, y, x.width, [&](const float* from, float* to) {
      if (beta_)
        kernels_.layer_norm(from, nullptr, gamma_.data, beta_.data, epsilon_, width, to);
      else
        kernels_.rms_norm(from, gamma_.data, epsilon_, width, to);
    });
  }

 private:
  const Kernels& kernels_;
  Tensor<float> gamma_, beta_;
  float epsilon_;
};

class PackedGate : public Operator {
 public:
  explicit PackedGate(const OrtKernelInfo* info) : kernels_(kernels()), activation_(read_activation(info)) {}
  void compute(OrtKernelContext* context) const override {
    const Packed x = packed_input(context, PackedGateInputs::x);
    require(x.width % 2 == 0, "x has no two halves");
    float* y = output(context, {x.batch, x.groups, x.width / 2, kTokensPerGroup});
    const int width = static_cast<int>(x.width / 2);
    for_each_group(context, x, y, width,
                   [&](const float* from, float* to) { kernels_.gate(from, width, activation_, to); });
  }

 private:
  const Kernels& kernels_;
  Activation activation_;
};

}  // namespace

std::unique_ptr<Operator> make_PackedAdd(const OrtKernelInfo* info) { return std::make_unique<PackedAdd>(info); }
std::unique_ptr<Operator> make_PackedNorm(const OrtKernelInfo* info) { return std::make_unique<PackedNorm>(info); }
std::unique_ptr<Operator> make_PackedGate(const OrtKernelInfo* info) { return std::make_unique<PackedGate>(info); }

}  // namespace sdp
