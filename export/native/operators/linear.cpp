#include "linear.h"

namespace sdp {

Activation read_activation(const OrtKernelInfo* info) {
  const std::string name = text(info, "activation");
  if (name == "none") return Activation::none;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "silu") return Activation::silu;
  throw Refused("activation is none of none, gelu, gelu_tanh, silu");
}

Epilogue::Epilogue(const OrtKernelInfo* info, const EpilogueInputs& positions, int64_t width)
    : inputs(positions),
      bias(constant<float>(info, inputs.bias)),
      activation(read_activation(info)),
      gamma(constant<float>(info, inputs.gamma, true)),
      beta(constant<float>(info, inputs.beta, true)) {
  const auto fits = [width](const Tensor<float>& t) { return t.shape == std::vector<int64_t>{width}; };
  require(fits(bias), "bias does not have out_features elements");
  norm = input_count(info) > inputs.residual;
  if (!norm) return;
  require(gamma && beta && fits(gamma) && fits(beta), "gamma and beta do not have out_features elements");
  require(activation == Activation::none, "an activation and a residual exclude each other");
  epsilon = real(info, "epsilon");
}

Packed linear_input(const OrtKernelContext* context, size_t index, int64_t in_features) {
  const Packed x = packed_input(context, index);
  require(x.width == in_features, "x has another width than in_features");
  return x;
}

// What an int8 product takes, beyond what an fp32 one does.
void check_int8_features(int64_t in_features) {
  require(in_features % 4 == 0, "in_features is not a multiple of 4");
  // A row's sum, 127 * 255 * in_features at most, must fit 32 bits.
  require(in_features <= 1 << 16, "in_features is more than an int8 product can sum");
}

}  // namespace sdp
