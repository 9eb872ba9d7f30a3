// Attention on packed activations.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "operators.h"

namespace sdp {

namespace {

constexpr float kMasked = -INFINITY;
// Softmax to base 2.
constexpr float kLog2e = 1.44269504f;

// With fewer keys rounding them takes longer than it saves.
constexpr int kFewestInt8Keys = 112;
// Up to this many, sums of shares (255) times values (127) stay within 32 bits.
constexpr int kMostInt8Keys = 1 << 16;

// Which keys the queries of one sequence (and head, where heads differ) see.
struct VisibleKeys {
  const uint8_t* mask;        // [rows][tokens], `rows` 1 or a query's own each; null where every key is seen
  bool same;                  // for every query, as with padding: `bias` alone decides
  int keys;                   // up to the last key that any query sees
  std::vector<float> bias;    // [keys]
  std::vector<int32_t> seen;  // [keys, rounded up to a group]: -1 for a key that some query may see

  VisibleKeys(const uint8_t* mask_of_all, int64_t rows, int64_t tokens)
      : mask(mask_of_all), same(true), keys(static_cast<int>(tokens)) {
    for (int64_t query = 1; query < rows && same; ++query)
      same = std::equal(mask, mask + tokens, mask + query * tokens);
    if (same && mask != nullptr)
      while (keys > 1 && !mask[keys - 1]) --keys;
    seen.resize(static_cast<size_t>(groups()) * kTokensPerGroup, 0);
    for (int key = 0; key < keys; ++key) {
      const bool shown = mask == nullptr || !same || mask[key];
      bias.push_back(shown ? 0.0f : kMasked);
      seen[static_cast<size_t>(key)] = shown ? -1 : 0;
    }
  }
  int groups() const { return (keys + kTokensPerGroup - 1) / kTokensPerGroup; }
  bool fit_int8() const { return keys >= kFewestInt8Keys && keys <= kMostInt8Keys; }
};

// Bytes, since a hostile bool need not be 0 or 1: [batch][heads][rows][tokens]. Without a mask, every key is seen.
struct Mask {
  const uint8_t* data = nullptr;
  int64_t batch = 1, heads = 1, rows = 1;

  int64_t of(int64_t sequence, int64_t head) const {
    return (batch == 1 ? 0 : sequence) * heads + (heads == 1 ? 0 : head);
  }
  std::vector<VisibleKeys> visible_keys(int64_t tokens) const {
    std::vector<VisibleKeys> found;
    for (int64_t i = 0; i < batch * heads; ++i)
      found.emplace_back(data == nullptr ? nullptr : data + i * rows * tokens, rows, tokens);
    return found;
  }
};

Mask read_mask(const OrtKernelContext* context, int64_t batch, int64_t heads, int64_t tokens) {
  const Tensor<bool> given = input<bool>(context, PackedAttentionInputs::mask);
  require(given.shape.size() == 4 && (given.shape[2] == 1 || given.shape[2] == tokens) && given.shape[3] == tokens,
          "the mask does not have the shape [batch, heads, 1 or tokens, tokens]");
  const Mask mask{reinterpret_cast<const uint8_t*>(given.data), given.shape[0], given.shape[1], given.shape[2]};
  require((mask.batch == 1 || mask.batch == batch) && (mask.heads == 1 || mask.heads == heads),
          "the mask has another number of sequences or heads");
  return mask;
}

// mask[query][key] as additions [groups][keys][16] for the queries from `first` on.
void expand_mask(const uint8_t* mask, int64_t tokens, int64_t first, int groups, float* out) {
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t key = 0; key < tokens; ++key)
      for (int64_t i = 0; i < kTokensPerGroup; ++i) {
        const int64_t query = first + g * kTokensPerGroup + i;
        *out++ = query >= tokens || mask[query * tokens + key] ? 0.0f : kMasked;
      }
}

// Keys and values of all heads as bytes; see AttentionI8.
struct Rounded {
  size_t groups, size;  // of a sequence, of a head
  Buffer<int8_t> k, v;
  Buffer<float> k_scale, v_scale;
  Buffer<int32_t> k_sum, v_sum;

  Rounded(size_t heads, size_t groups_of_keys, size_t head_size)
      : groups(groups_of_keys),
        size(head_size),
        k(heads * groups * kTokensPerGroup * size),
        v(heads * groups * kTokensPerGroup * size),
        k_scale(heads * groups * kTokensPerGroup),
        v_scale(heads * size),
        k_sum(heads * groups * kTokensPerGroup),
        v_sum(heads * size) {}

  void fill(const Kernels& kernels, size_t head, const float* keys, const float* values, size_t stride,
            const VisibleKeys& visible) const {
    const size_t first = head * groups;
    const int width = static_cast<int>(size);
    for (int g = 0; g < visible.groups(); ++g) {
      const size_t at = (first + g) * kTokensPerGroup;
      kernels.quantize_keys(keys + g * stride, width, k.get() + at * size, k_scale.get() + at, k_sum.get() + at);
    }
    kernels.quantize_values(values, stride, visible.groups(), width, visible.seen.data(),
                            v.get() + first * kTokensPerGroup * size, v_scale.get() + head * size,
                            v_sum.get() + head * size);
  }

  // What `Kernels::attention` does, on the bytes of one head.
  void attend(const Kernels& kernels, size_t head, const Attention& a, int query_groups) const {
    const Buffer<uint8_t> q(query_groups * size * kTokensPerGroup);
    const Buffer<uint8_t> shares((a.keys + 3) / 4 * static_cast<size_t>(query_groups) * kTokensPerGroup * 4);
    float q_scale[kQueryGroups * kTokensPerGroup];
    for (int g = 0; g < query_groups; ++g)
      kernels.quantize(a.q + g * a.stride, a.head_size, q.get() + g * size * kTokensPerGroup,
                       q_scale + g * kTokensPerGroup);
    const size_t first = head * groups * kTokensPerGroup;
    kernels.attention_i8({q.get(), q_scale, k.get() + first * size, k_scale.get() + first, k_sum.get() + first,
                          v.get() + first * size, v_scale.get() + head * size, v_sum.get() + head * size, a.out,
                          a.out_stride, a.head_size, a.keys, a.scale, a.key_bias, a.mask, a.scores, shares.get()},
                         query_groups);
  }
};

using Inputs = PackedAttentionInputs;

class PackedAttention : public Operator {
 public:
  PackedAttention(const OrtKernelInfo*, bool int8);
  void compute(OrtKernelContext*) const override;

 private:
  const Kernels& kernels_;
  bool int8_;
  int64_t heads_, head_size_, q_first_, k_first_, v_first_;
  float scale_;  // to base 2
  bool masked_;
};

PackedAttention::PackedAttention(const OrtKernelInfo* info, bool int8)
    : kernels_(kernels()),
      int8_(int8),
      heads_(integer(info, "heads", 1, 1 << 12)),
      head_size_(integer(info, "head_size", 8, 1 << 12)),
      q_first_(integer(info, "q_first", 0, 1 << 20)),
      k_first_(integer(info, "k_first", 0, 1 << 20)),
      v_first_(integer(info, "v_first", 0, 1 << 20)),
      scale_(real(info, "scale") * kLog2e) {
  require(head_size_ % 8 == 0, "head_size is not a multiple of 8");
  masked_ = input_count(info) > Inputs::mask;
}

void PackedAttention::compute(OrtKernelContext* context) const {
  const Packed q = packed_input(context, Inputs::q);
  const Packed k = packed_input(context, Inputs::k);
  const Packed v = packed_input(context, Inputs::v);
  const Tensor<int64_t> length = input<int64_t>(context, Inputs::tokens);
  require(length.size() == 1, "tokens is not a single number");
  const int64_t tokens = *length.data;
  const int64_t width = heads_ * head_size_;
  for (const Packed& part : {q, k, v})
    require(part.batch == q.batch && part.groups == q.groups && part.width == q.width, "q, k and v differ in shape");
  require(tokens >= 0 && tokens <= q.groups * kTokensPerGroup && tokens > (q.groups - 1) * kTokensPerGroup,
          "tokens does not fit the packed activations");
  require(std::max({q_first_, k_first_, v_first_}) + width <= q.width, "the heads do not fit the width of q, k and v");

  const Mask mask = masked_ ? read_mask(context, q.batch, heads_, tokens) : Mask{};
  float* y = output(context, {q.batch, q.groups, width, kTokensPerGroup});
  if (q.all_groups() == 0) return;  // of however many sequences

  const std::vector<VisibleKeys> all_visible = mask.visible_keys(tokens);
  const size_t stride = static_cast<size_t>(q.width) * kTokensPerGroup;
  const size_t out_stride = static_cast<size_t>(width) * kTokensPerGroup;
  const auto visible_of = [&](int64_t sequence, int64_t head) -> const VisibleKeys& {
    return all_visible[static_cast<size_t>(mask.of(sequence, head))];
  };
  const auto part = [&](const Packed& of, int64_t sequence, int64_t first, int64_t head) {
    return of.data + sequence * q.groups * stride + (first + head * head_size_) * kTokensPerGroup;
  };

  const bool any =
      int8_ && std::any_of(all_visible.begin(), all_visible.end(), [](const VisibleKeys& s) { return s.fit_int8(); });
  const size_t all_heads = static_cast<size_t>(q.batch * heads_);
  const Rounded rounded(any ? all_heads : 0, static_cast<size_t>(q.groups), static_cast<size_t>(head_size_));
  parallel(context, any ? all_heads : 0, [&](size_t index) {
    const int64_t sequence = static_cast<int64_t>(index) / heads_, head = static_cast<int64_t>(index) % heads_;
    if (const VisibleKeys& visible = visible_of(sequence, head); visible.fit_int8())
      rounded.fill(kernels_, index, part(k, sequence, k_first_, head), part(v, sequence, v_first_, head), stride,
                   visible);
  });

  const int64_t pairs = (q.groups + kQueryGroups - 1) / kQueryGroups;
  std::atomic<bool> out_of_memory{false};
  parallel(context, all_heads * static_cast<size_t>(pairs), [&](size_t index) {
    const int64_t one = static_cast<int64_t>(index) / pairs, sequence = one / heads_, head = one % heads_;
    const int64_t group = static_cast<int64_t>(index) % pairs * kQueryGroups;
    const int count = static_cast<int>(std::min<int64_t>(kQueryGroups, q.groups - group));
    const VisibleKeys& visible = visible_of(sequence, head);
    const size_t room = static_cast<size_t>(visible.keys) * count * kTokensPerGroup;
    try {
      const Buffer<float> scratch(visible.same ? room : 2 * room);
      float* bias = visible.same ? nullptr : scratch.get() + room;
      if (!visible.same) expand_mask(visible.mask, tokens, group * kTokensPerGroup, count, bias);
      const Attention attention{part(q, sequence, q_first_, head) + group * stride,
                                part(k, sequence, k_first_, head),
                                part(v, sequence, v_first_, head),
                                y + (sequence * q.groups + group) * out_stride + head * head_size_ * kTokensPerGroup,
                                stride,
                                out_stride,
                                static_cast<int>(head_size_),
                                visible.keys,
                                scale_,
                                visible.bias.data(),
                                bias,
                                scratch.get()};
      if (int8_ && visible.fit_int8())
        rounded.attend(kernels_, static_cast<size_t>(one), attention, count);
      else
        kernels_.attention(attention, count);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the scores of attention");
}

}  // namespace

std::unique_ptr<Operator> make_PackedAttention(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, false);
}
std::unique_ptr<Operator> make_PackedAttentionInt8(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, true);
}

}  // namespace sdp
