// In and out of the packed layout.
#include <algorithm>

#include "operators.h"
#include "texts.h"

namespace sdp {

namespace {

class Pack : public Operator {
 public:
  explicit Pack(const OrtKernelInfo* info)
      : kernels_(kernels()), without_padding_(input_count(info) > PackInputs::kept) {}
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  bool without_padding_;
};

class Unpack : public Operator {
 public:
  explicit Unpack(const OrtKernelInfo*) : kernels_(kernels()) {}
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
};

class FirstTokens : public Operator {
 public:
  explicit FirstTokens(const OrtKernelInfo*) {}
  void compute(OrtKernelContext*) const override;
};

// The rows of group `group` of packed activations among the rows [batch * length] of `data`; returns how many.
template <class Value>
int rows_of_group(const Texts& texts, int64_t group, Value* data, int64_t width, Value** rows) {
  int64_t places[kTokensPerGroup];
  const int tokens = texts.places_of(group, places);
  for (int t = 0; t < tokens; ++t) rows[t] = data + places[t] * width;
  return tokens;
}

void Pack::compute(OrtKernelContext* context) const {
  const Tensor<float> x = input<float>(context, PackInputs::x);
  const size_t rank = x.shape.size();
  require(rank >= 2, "x has fewer than two dimensions");
  const int64_t length = x.shape[rank - 2];
  const int64_t width = x.shape[rank - 1];
  int64_t batch = 1;
  for (size_t i = 0; i + 2 < rank; ++i) batch *= x.shape[i];
  Texts texts;
  if (without_padding_) {
    texts = kept_texts(input<int64_t>(context, PackInputs::kept));
    require(rank == 3 && texts.batch == batch && texts.length == length, "x has another batch or length than kept");
  } else {
    texts = padded_texts(batch, length);
  }
  const int64_t groups = texts.groups();
  float* y = texts.padded ? output(context, {batch, Texts::groups_of(length), width, kTokensPerGroup})
                          : output(context, {1, groups, width, kTokensPerGroup});
  if (x.size() == 0) return;  // of however many tokens
  parallel(context, static_cast<size_t>(groups), [&](size_t group) {
    const float* rows[kTokensPerGroup];
    const int tokens = rows_of_group(texts, static_cast<int64_t>(group), x.data, width, rows);
    kernels_.pack(rows, tokens, static_cast<int>(width), y + group * width * kTokensPerGroup);
  });
}

void Unpack::compute(OrtKernelContext* context) const {
  const Packed x = packed_input(context, UnpackInputs::x);
  const Texts texts = texts_of(context, UnpackInputs::tokens, x);
  float* y = output(context, {texts.batch, texts.length, x.width});
  if (x.width == 0) return;  // of however many tokens
  if (!texts.padded) {
    int64_t next = 0;
    for (int64_t at : texts.kept) {
      std::fill(y + next * x.width, y + at * x.width, 0.0f);
      next = at + 1;
    }
    std::fill(y + next * x.width, y + texts.batch * texts.length * x.width, 0.0f);
  }
  parallel(context, static_cast<size_t>(x.all_groups()), [&](size_t group) {
    float* rows[kTokensPerGroup];
    const int tokens = rows_of_group(texts, static_cast<int64_t>(group), y, x.width, rows);
    kernels_.unpack(x.data + group * x.width * kTokensPerGroup, tokens, static_cast<int>(x.width), rows);
  });
}

void FirstTokens::compute(OrtKernelContext* context) const {
  const Packed x = packed_input(context, FirstTokensInputs::x);
  const Texts texts = texts_of(context, FirstTokensInputs::tokens, x);
  const size_t count = texts.count();
  const size_t stride = static_cast<size_t>(x.width) * kTokensPerGroup;
  float* y = output(context, {1, Texts::groups_of(static_cast<int64_t>(count)), x.width, kTokensPerGroup});
  std::fill(y, y + (count + kTokensPerGroup - 1) / kTokensPerGroup * stride, 0.0f);
  if (x.width == 0) return;  // of however many texts
  for (size_t i = 0; i < count; ++i) {
    const auto first = static_cast<size_t>(texts[i].first);
    if (texts[i].tokens == 0) continue;
    const float* from = x.data + first / kTokensPerGroup * stride + first % kTokensPerGroup;
    float* to = y + i / kTokensPerGroup * stride + i % kTokensPerGroup;
    for (size_t at = 0; at < stride; at += kTokensPerGroup) to[at] = from[at];
  }
}

}  // namespace

std::unique_ptr<Operator> make_FirstTokens(const OrtKernelInfo* info) { return std::make_unique<FirstTokens>(info); }
std::unique_ptr<Operator> make_Pack(const OrtKernelInfo* info) { return std::make_unique<Pack>(info); }
std::unique_ptr<Operator> make_Unpack(const OrtKernelInfo* info) { return std::make_unique<Unpack>(info); }

}  // namespace sdp
