// Attention on packed activations.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "operators.h"

namespace sdp {

namespace {

constexpr float kLeftOut = -INFINITY;

// What the queries of one sequence (and head, where heads differ) see.
struct Sight {
  bool same;                // for every query, as with padding: `key_bias` says it all
  int keys;                 // up to the last key that any query sees
  std::vector<float> bias;  // [keys]
};

// `rows` rows of the mask: one for all queries, or one each.
Sight look(const uint8_t* mask, int64_t rows, int64_t tokens) {
  Sight sight{true, static_cast<int>(tokens), {}};
  for (int64_t query = 1; query < rows && sight.same; ++query)
    sight.same = std::equal(mask, mask + tokens, mask + query * tokens);
  if (sight.same)
    while (sight.keys > 1 && !mask[sight.keys - 1]) --sight.keys;
  for (int key = 0; key < sight.keys; ++key) sight.bias.push_back(mask[key] || !sight.same ? 0.0f : kLeftOut);
  return sight;
}

// mask[query][key] as additions [groups][keys][16] for the queries from `first` on.
void spread(const uint8_t* mask, int64_t tokens, int64_t first, int groups, float* out) {
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t key = 0; key < tokens; ++key)
      for (int64_t i = 0; i < kTokensPerGroup; ++i) {
        const int64_t query = first + g * kTokensPerGroup + i;
        *out++ = query >= tokens || mask[query * tokens + key] ? 0.0f : kLeftOut;
      }
}

}  // namespace

PackedAttention::PackedAttention(const OrtKernelInfo* info)
    : kernels_(kernels()),
      heads_(integer(info, "heads", 1, 1 << 12)),
      head_size_(integer(info, "head_size", 8, 1 << 12)),
      q_first_(integer(info, "q_first", 0, 1 << 20)),
      k_first_(integer(info, "k_first", 0, 1 << 20)),
      v_first_(integer(info, "v_first", 0, 1 << 20)),
      scale_(real(info, "scale")) {
  require(head_size_ % 8 == 0, "head_size is not a multiple of 8");
  size_t inputs = 0;
  check(ort::input_count(info, &inputs), "the inputs cannot be counted");
  masked_ = inputs > 4;
}

void PackedAttention::compute(OrtKernelContext* context) const {
  const Packed q = packed_input(context, 0);
  const Packed k = packed_input(context, 1);
  const Packed v = packed_input(context, 2);
  const Tensor<int64_t> length = input<int64_t>(context, 3);
  require(length.size() == 1, "tokens is not a single number");
  const int64_t tokens = *length.data;
  const int64_t width = heads_ * head_size_;
  for (const Packed& part : {q, k, v})
    require(part.batch == q.batch && part.groups == q.groups && part.width == q.width, "q, k and v differ in shape");
  require(tokens >= 0 && tokens <= q.groups * kTokensPerGroup && tokens > (q.groups - 1) * kTokensPerGroup,
          "tokens does not fit the packed activations");
  require(std::max({q_first_, k_first_, v_first_}) + width <= q.width, "the heads do not fit the width of q, k and v");

  const uint8_t* mask = nullptr;  // bytes: a hostile bool need not be 0 or 1
  int64_t mask_batch = 1, mask_heads = 1, mask_rows = 1;
  std::vector<Sight> sights;
  if (masked_) {
    const Tensor<bool> given = input<bool>(context, 4);
    require(given.shape.size() == 4 && (given.shape[2] == 1 || given.shape[2] == tokens) && given.shape[3] == tokens,
            "the mask does not have the shape [batch, heads, 1 or tokens, tokens]");
    mask = reinterpret_cast<const uint8_t*>(given.data);
    mask_batch = given.shape[0];
    mask_heads = given.shape[1];
    mask_rows = given.shape[2];
    require((mask_batch == 1 || mask_batch == q.batch) && (mask_heads == 1 || mask_heads == heads_),
            "the mask has another number of sequences or heads");
    for (int64_t i = 0; i < mask_batch * mask_heads; ++i)
      sights.push_back(look(mask + i * mask_rows * tokens, mask_rows, tokens));
  } else {
    sights.push_back({true, static_cast<int>(tokens), std::vector<float>(static_cast<size_t>(tokens), 0.0f)});
  }

  float* y = output(context, {q.batch, q.groups, width, kTokensPerGroup});
  const int64_t pairs = (q.groups + kQueryGroups - 1) / kQueryGroups;
  const size_t stride = static_cast<size_t>(q.width) * kTokensPerGroup;
  const size_t out_stride = static_cast<size_t>(width) * kTokensPerGroup;
  std::atomic<bool> out_of_memory{false};
  parallel(context, static_cast<size_t>(q.batch * heads_ * pairs), [&](size_t index) {
    const auto work = static_cast<int64_t>(index);
    const int64_t sequence = work / (heads_ * pairs);
    const int64_t head = work / pairs % heads_;
    const int64_t group = work % pairs * kQueryGroups;
    const int count = static_cast<int>(std::min<int64_t>(kQueryGroups, q.groups - group));
    const int64_t seen = (mask_batch == 1 ? 0 : sequence) * mask_heads + (mask_heads == 1 ? 0 : head);
    const Sight& sight = sights[static_cast<size_t>(seen)];
    const size_t room = static_cast<size_t>(sight.keys) * count * kTokensPerGroup;
    try {
      const Buffer<float> scratch(sight.same ? room : 2 * room);
      if (!sight.same)
        spread(mask + seen * mask_rows * tokens, tokens, group * kTokensPerGroup, count, scratch.get() + room);
      const float* keys = k.data + sequence * q.groups * stride + (k_first_ + head * head_size_) * kTokensPerGroup;
      const float* values = v.data + sequence * q.groups * stride + (v_first_ + head * head_size_) * kTokensPerGroup;
      const int64_t at = sequence * q.groups + group;
      kernels_.attention({q.data + at * stride + (q_first_ + head * head_size_) * kTokensPerGroup, keys, values,
                          y + at * out_stride + head * head_size_ * kTokensPerGroup, stride, out_stride,
                          static_cast<int>(head_size_), sight.keys, scale_, sight.bias.data(),
                          sight.same ? nullptr : scratch.get() + room, scratch.get()},
                         count);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the scores of attention");
}

}  // namespace sdp
