// In and out of the packed layout.
#include <algorithm>

#include "operators.h"

namespace sdp {

namespace {

class Pack : public Operator {
 public:
  explicit Pack(const OrtKernelInfo*) : kernels_(kernels()) {}
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
};

class Unpack : public Operator {
 public:
  explicit Unpack(const OrtKernelInfo*) : kernels_(kernels()) {}
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
};

void Pack::compute(OrtKernelContext* context) const {
  const Tensor<float> x = input<float>(context, PackInputs::x);
  const size_t rank = x.shape.size();
  require(rank >= 2, "x has fewer than two dimensions");
  const int64_t tokens = x.shape[rank - 2];
  const int64_t width = x.shape[rank - 1];
  int64_t batch = 1;
  for (size_t i = 0; i + 2 < rank; ++i) batch *= x.shape[i];
  const int64_t groups = (tokens + kTokensPerGroup - 1) / kTokensPerGroup;
  float* y = output(context, {batch, groups, width, kTokensPerGroup});
  if (x.size() == 0) return;  // of however many tokens
  parallel(context, static_cast<size_t>(batch * groups), [&](size_t index) {
    const int64_t sequence = static_cast<int64_t>(index) / groups;
    const int64_t first = static_cast<int64_t>(index) % groups * kTokensPerGroup;
    const int64_t here = std::min<int64_t>(kTokensPerGroup, tokens - first);
    kernels_.pack(x.data + (sequence * tokens + first) * width, static_cast<int>(here), static_cast<int>(width),
                  y + index * width * kTokensPerGroup);
  });
}

void Unpack::compute(OrtKernelContext* context) const {
  const Packed x = packed_input(context, UnpackInputs::x);
  const Tensor<int64_t> length = input<int64_t>(context, UnpackInputs::tokens);
  require(length.size() == 1, "tokens is not a single number");
  const int64_t tokens = *length.data;
  require(tokens >= 0 && tokens <= x.groups * kTokensPerGroup && tokens > (x.groups - 1) * kTokensPerGroup,
          "tokens does not fit the packed activations");
  float* y = output(context, {x.batch, tokens, x.width});
  if (x.width == 0) return;  // of however many tokens
  parallel(context, static_cast<size_t>(x.all_groups()), [&](size_t index) {
    const int64_t sequence = static_cast<int64_t>(index) / x.groups;
    const int64_t first = static_cast<int64_t>(index) % x.groups * kTokensPerGroup;
    const int64_t here = std::min<int64_t>(kTokensPerGroup, tokens - first);
    kernels_.unpack(x.data + index * x.width * kTokensPerGroup, static_cast<int>(here), static_cast<int>(x.width),
                    y + (sequence * tokens + first) * x.width);
  });
}

}  // namespace

std::unique_ptr<Operator> make_Pack(const OrtKernelInfo* info) { return std::make_unique<Pack>(info); }
std::unique_ptr<Operator> make_Unpack(const OrtKernelInfo* info) { return std::make_unique<Unpack>(info); }

}  // namespace sdp
