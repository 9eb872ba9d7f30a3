// Rotary positions on packed activations.
#include <algorithm>

#include "operators.h"
#include "texts.h"

namespace sdp {

namespace {

constexpr int64_t kMostSize = 512;

using Inputs = PackedRotaryInputs;

class PackedRotary : public Operator {
 public:
  explicit PackedRotary(const OrtKernelInfo* info)
      : heads_(integer(info, "heads", 1, 1 << 13)),
        size_(integer(info, "head_size", 2, kMostSize)),
        first_(integer(info, "first", 0, 1 << 20)) {
    require(size_ % 2 == 0, "head_size is not even");
  }
  void compute(OrtKernelContext*) const override;

 private:
  int64_t heads_, size_, first_;
};

// Cosines or sines [1 or batch, tokens, head_size / 2].
struct Angles {
  const float* data;
  int64_t rows, width;

  Angles(const OrtKernelContext* context, size_t index, const Texts& texts, int64_t half) : width(half) {
    const Tensor<float> given = input<float>(context, index);
    require(given.shape.size() == 3 && (given.shape[0] == 1 || given.shape[0] == texts.batch) &&
                given.shape[1] == texts.length && given.shape[2] == half,
            "the angles do not have the shape [1 or batch, tokens, head_size / 2]");
    data = given.data, rows = given.shape[0] * given.shape[1];
  }
  // [width][16] for the tokens at these places; other lanes keep what they have.
  void expand(const int64_t* places, int tokens, float* out) const {
    for (int t = 0; t < tokens; ++t) {
      const float* row = data + places[t] % rows * width;
      for (int64_t d = 0; d < width; ++d) out[d * kTokensPerGroup + t] = row[d];
    }
  }
};

void PackedRotary::compute(OrtKernelContext* context) const {
  const Packed x = packed_input(context, Inputs::x);
  const Texts texts = texts_of(context, Inputs::tokens, x);
  require(first_ + heads_ * size_ <= x.width, "the heads do not fit the width of x");
  const int64_t half = size_ / 2;
  const Angles cosines(context, Inputs::cos, texts, half), sines(context, Inputs::sin, texts, half);
  float* y = output(context, {x.batch, x.groups, x.width, kTokensPerGroup});
  const int64_t stride = x.width * kTokensPerGroup;
  parallel(context, static_cast<size_t>(x.all_groups()), [&](size_t group) {
    const float* from = x.data + static_cast<int64_t>(group) * stride;
    float* to = y + static_cast<int64_t>(group) * stride;
    std::copy(from, from + stride, to);
    int64_t places[kTokensPerGroup];
    const int tokens = texts.places_of(static_cast<int64_t>(group), places);
    float cosine[kMostSize / 2 * kTokensPerGroup], sine[kMostSize / 2 * kTokensPerGroup];
    // What is in lanes without a token is not rotated.
    std::fill(cosine, cosine + half * kTokensPerGroup, 1.0f);
    std::fill(sine, sine + half * kTokensPerGroup, 0.0f);
    cosines.expand(places, tokens, cosine);
    sines.expand(places, tokens, sine);
    for (int64_t head = 0; head < heads_; ++head) {
      const int64_t at = (first_ + head * size_) * kTokensPerGroup, other = half * kTokensPerGroup;
      const float* in = from + at;
      float* out = to + at;
      for (int64_t i = 0; i < other; ++i) {
        out[i] = in[i] * cosine[i] - in[i + other] * sine[i];
        out[i + other] = in[i + other] * cosine[i] + in[i] * sine[i];
      }
    }
  });
}

}  // namespace

std::unique_ptr<Operator> make_PackedRotary(const OrtKernelInfo* info) { return std::make_unique<PackedRotary>(info); }

}  // namespace sdp
