// Attention on packed activations.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "operators.h"
#include "texts.h"

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

// Added to the scores by the places of query and key in their text: [heads or 1][tokens][tokens].
struct Bias {
  const float* data = nullptr;
  int64_t heads = 1, tokens = 0;
};

Bias read_bias(const OrtKernelContext* context, int64_t heads, int64_t tokens) {
  const Tensor<float> given = input<float>(context, PackedAttentionInputs::bias);
  require(given.shape.size() == 4 && given.shape[0] == 1 && (given.shape[1] == 1 || given.shape[1] == heads) &&
              given.shape[2] == tokens && given.shape[3] == tokens,
          "the bias does not have the shape [1, heads or 1, tokens, tokens]");
  return {given.data, given.shape[1], tokens};
}

// Keys or queries of places: a table of rows for each head, and which row belongs to each pair of tokens.
struct PositionTable {
  const int64_t* places = nullptr;  // [tokens][tokens]
  const float* data = nullptr;      // [heads][rows / 16][head_size][16]
  int rows = 0;
  int first = 0, last = 0;          // of the rows that any pair has, in steps of 16

  const float* of_head(int64_t head, int64_t head_size) const { return data + head * rows * head_size; }
};

PositionTable read_positions(const OrtKernelContext* context, size_t places, size_t table, int64_t heads,
                             int64_t head_size, int64_t tokens) {
  const Tensor<int64_t> pairs = input<int64_t>(context, places);
  const Tensor<float> rows = input<float>(context, table);
  const size_t rank = pairs.shape.size();
  require(rank >= 2 && pairs.shape[rank - 1] == tokens && pairs.shape[rank - 2] == tokens &&
              pairs.size() == static_cast<size_t>(tokens) * static_cast<size_t>(tokens),
          "the places do not have the shape [1, tokens, tokens]");
  require(rows.shape.size() == 4 && rows.shape[0] == heads && rows.shape[1] >= 1 && rows.shape[1] <= 1 << 12 &&
              rows.shape[2] == head_size && rows.shape[3] == kTokensPerGroup,
          "a table of positions does not have the shape [heads, rows / 16, head_size, 16]");
  PositionTable found;
  found.places = pairs.data, found.data = rows.data;
  found.rows = static_cast<int>(rows.shape[1]) * kTokensPerGroup;
  if (pairs.size() == 0) return found;
  const auto [least, most] = std::minmax_element(pairs.data, pairs.data + pairs.size());
  require(*least >= 0 && *most < found.rows, "a place has no row in its table");
  found.first = static_cast<int>(*least) / kTokensPerGroup * kTokensPerGroup;
  found.last = (static_cast<int>(*most) / kTokensPerGroup + 1) * kTokensPerGroup;
  return found;
}

// A text's queries, keys or values of one head: where they are, and how far from one group to the next.
struct Part {
  const float* data;
  size_t stride;
};

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

  void fill(const Kernels& kernels, size_t head, const Part& keys, const Part& values,
            const VisibleKeys& visible) const {
    const size_t first = head * groups;
    const int width = static_cast<int>(size);
    for (int g = 0; g < visible.groups(); ++g) {
      const size_t at = (first + g) * kTokensPerGroup;
      kernels.quantize_keys(keys.data + g * keys.stride, width, k.get() + at * size, k_scale.get() + at,
                            k_sum.get() + at);
    }
    kernels.quantize_values(values.data, values.stride, visible.groups(), width, visible.seen.data(),
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

// The first four are those of every operator here.
using Inputs = PackedAttentionInputs;

// The heads of a node.
struct Heads {
  int64_t count, size;
  int64_t q_first, k_first, v_first;  // the first feature of each in its input
  float scale;                        // to base 2
  bool int8, first_tokens;
  bool disentangled = false;

  int64_t width() const { return count * size; }
  size_t group() const { return static_cast<size_t>(size) * kTokensPerGroup; }  // floats of a group of one head
};

// Queries that are attended to together: up to kQueryGroups groups of a text.
struct Queries {
  size_t text;
  int64_t first, tokens;

  int groups() const { return static_cast<int>(Texts::groups_of(tokens)); }
};

// One run of a node.
class Call {
 public:
  Call(const OrtKernelContext*, const Kernels&, const Heads&, bool masked, bool biased);
  void compute(OrtKernelContext*) const;

 private:
  Rounded round(const OrtKernelContext*) const;
  // `by_place` is what `products_with_queries` made of the text and the head.
  void attend(const Rounded&, const Queries&, int64_t head, const float* by_place, float* y) const;
  // All queries of a text, whose keys are multiplied with the queries of places first.
  void attend_to_places(const Rounded&, size_t text, const std::vector<Queries>&, int64_t head, float* y) const;
  // [groups][rows][16]: of x with each row of the table.
  void products(const PositionTable&, int64_t head, const Part& x, int groups, float* out) const;
  void expand_positions(const Queries&, int64_t head, const Part& query, const float* by_place, int keys,
                        float* out) const;
  // The bias of a head, to base 2, as additions [groups][keys][16].
  void expand_bias(const Queries&, int64_t head, int keys, float* out) const;
  std::vector<Queries> all_queries() const;
  void clear_unused_lanes(float* y) const;

  const VisibleKeys& visible_of(size_t text, int64_t head) const {
    return visible_[texts_.padded ? static_cast<size_t>(mask_.of(static_cast<int64_t>(text), head)) : text];
  }
  // Whether the results of several texts may share a group: then they are placed in it one by one.
  bool placed() const { return heads_.first_tokens || !texts_.padded; }
  // Room for the keys of a text and a head, or for their values, where they must be moved.
  size_t room(size_t text, const VisibleKeys& visible) const {
    return texts_[text].first % kTokensPerGroup == 0 ? 0 : heads_.group() * static_cast<size_t>(visible.groups());
  }
  // `tokens` of a text from its token `first` on: as they lie, or, where they do not begin a group, moved to `to`.
  Part part(const Packed& of, int64_t feature, size_t text, int64_t first, int64_t tokens, float* to) const;

  const Kernels& kernels_;
  const Heads& heads_;
  Packed q_, k_, v_;
  Texts texts_;
  Mask mask_;
  Bias bias_;
  PositionTable of_keys_, of_queries_;
  std::vector<float> no_bias_;
  std::vector<VisibleKeys> visible_;
  size_t out_stride_;
};

Call::Call(const OrtKernelContext* context, const Kernels& kernels, const Heads& heads, bool masked, bool biased)
    : kernels_(kernels),
      heads_(heads),
      q_(packed_input(context, Inputs::q)),
      k_(packed_input(context, Inputs::k)),
      v_(packed_input(context, Inputs::v)),
      texts_(texts_of(context, Inputs::tokens, q_)),
      out_stride_(static_cast<size_t>(heads.width()) * kTokensPerGroup) {
  for (const Packed& part : {k_, v_})
    require(part.batch == q_.batch && part.groups == q_.groups && part.width == q_.width, "q, k and v differ in shape");
  require(std::max({heads.q_first, heads.k_first, heads.v_first}) + heads.width() <= q_.width,
          "the heads do not fit the width of q, k and v");
  require(texts_.padded || !masked, "a mask and texts without padding exclude each other");
  require(!texts_.padded || !biased, "a bias is of texts without padding");
  if (masked) mask_ = read_mask(context, q_.batch, heads.count, texts_.length);
  if (biased) bias_ = read_bias(context, heads.count, texts_.length);
  if (heads.disentangled) {
    require(!texts_.padded, "places are of texts without padding");
    using Own = PackedDisentangledAttentionInputs;
    of_keys_ = read_positions(context, Own::key_places, Own::position_keys, heads.count, heads.size, texts_.length);
    of_queries_ =
        read_positions(context, Own::query_places, Own::position_queries, heads.count, heads.size, texts_.length);
    no_bias_.resize(static_cast<size_t>(std::max(of_keys_.rows, of_queries_.rows)), 0.0f);
  }
  if (texts_.padded)
    visible_ = mask_.visible_keys(texts_.length);
  else
    for (size_t text = 0; text < texts_.count(); ++text) visible_.emplace_back(nullptr, 1, texts_[text].tokens);
}

Part Call::part(const Packed& of, int64_t feature, size_t text, int64_t first, int64_t tokens, float* to) const {
  const size_t stride = static_cast<size_t>(of.width) * kTokensPerGroup;
  const int64_t at = texts_[text].first + first;
  const float* data = of.data + static_cast<size_t>(at / kTokensPerGroup) * stride + feature * kTokensPerGroup;
  const int lane = static_cast<int>(at % kTokensPerGroup);
  if (lane == 0) return {data, stride};
  kernels_.align(data, stride, lane, static_cast<int>(tokens), static_cast<int>(heads_.size), to);
  return {to, heads_.group()};
}

Rounded Call::round(const OrtKernelContext* context) const {
  const bool any = heads_.int8 && std::any_of(visible_.begin(), visible_.end(),
                                              [](const VisibleKeys& visible) { return visible.fit_int8(); });
  int64_t groups = 0;
  for (size_t text = 0; any && text < texts_.count(); ++text)
    groups = std::max(groups, Texts::groups_of(texts_[text].tokens));
  const size_t all_heads = any ? texts_.count() * static_cast<size_t>(heads_.count) : 0;
  Rounded rounded(all_heads, static_cast<size_t>(groups), static_cast<size_t>(heads_.size));
  std::atomic<bool> out_of_memory{false};
  parallel(context, all_heads, [&](size_t index) {
    const size_t text = index / static_cast<size_t>(heads_.count);
    const int64_t head = static_cast<int64_t>(index) % heads_.count, feature = head * heads_.size;
    const VisibleKeys& visible = visible_of(text, head);
    if (!visible.fit_int8()) return;
    try {
      const size_t each = room(text, visible);
      const Buffer<float> moved(2 * each);
      const Part keys = part(k_, heads_.k_first + feature, text, 0, visible.keys, moved.get());
      const Part values = part(v_, heads_.v_first + feature, text, 0, visible.keys, moved.get() + each);
      rounded.fill(kernels_, index, keys, values, visible);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the keys and values of attention");
  return rounded;
}

void Call::expand_bias(const Queries& queries, int64_t head, int keys, float* out) const {
  const float* of_head = bias_.data + (bias_.heads == 1 ? 0 : head) * bias_.tokens * bias_.tokens;
  const int64_t* places = texts_.kept.data() + texts_[queries.text].first;
  const int64_t start = static_cast<int64_t>(queries.text) * texts_.length;
  std::fill(out, out + static_cast<size_t>(queries.groups()) * static_cast<size_t>(keys) * kTokensPerGroup, 0.0f);
  for (int64_t i = 0; i < queries.tokens; ++i) {
    const float* row = of_head + (places[queries.first + i] - start) * bias_.tokens;
    float* lane = out + i / kTokensPerGroup * keys * kTokensPerGroup + i % kTokensPerGroup;
    for (int key = 0; key < keys; ++key) lane[key * kTokensPerGroup] = row[places[key] - start] * kLog2e;
  }
}

void Call::products(const PositionTable& table, int64_t head, const Part& x, int groups, float* out) const {
  const ProductF32 product{nullptr, no_bias_.data(), Activation::none};
  kernels_.dense_f32(product, table.of_head(head, heads_.size), table.first, table.last,
                     static_cast<int>(heads_.size), x.data, x.stride, groups, out,
                     static_cast<size_t>(table.rows) * kTokensPerGroup);
}

void Call::expand_positions(const Queries& queries, int64_t head, const Part& query, const float* by_place, int keys,
                            float* out) const {
  const size_t own = static_cast<size_t>(of_keys_.rows) * kTokensPerGroup;
  const size_t other = static_cast<size_t>(of_queries_.rows) * kTokensPerGroup;
  const Buffer<float> with_keys(own * static_cast<size_t>(queries.groups()));
  products(of_keys_, head, query, queries.groups(), with_keys.get());
  const int64_t* at = texts_.kept.data() + texts_[queries.text].first;
  const int64_t start = static_cast<int64_t>(queries.text) * texts_.length;
  std::fill(out, out + static_cast<size_t>(queries.groups()) * static_cast<size_t>(keys) * kTokensPerGroup, 0.0f);
  for (int64_t i = 0; i < queries.tokens; ++i) {
    const int64_t group = i / kTokensPerGroup, lane = i % kTokensPerGroup, place = at[queries.first + i] - start;
    const int64_t* row = of_keys_.places + place * texts_.length;
    const float* products_of_query = with_keys.get() + static_cast<size_t>(group) * own + lane;
    float* added = out + group * keys * kTokensPerGroup + lane;
    for (int key = 0; key < keys; ++key) {
      const int64_t key_place = at[key] - start;
      const float* products_of_key = by_place + static_cast<size_t>(key / kTokensPerGroup) * other + key % kTokensPerGroup;
      const int64_t back = of_queries_.places[key_place * texts_.length + place];
      added[key * kTokensPerGroup] =
          (products_of_query[row[key_place] * kTokensPerGroup] + products_of_key[back * kTokensPerGroup]) *
          heads_.scale;
    }
  }
}

// Throws std::bad_alloc.
void Call::attend_to_places(const Rounded& rounded, size_t text, const std::vector<Queries>& all, int64_t head,
                            float* y) const {
  const VisibleKeys& visible = visible_of(text, head);
  if (visible.keys == 0) return;
  const Buffer<float> moved(room(text, visible));
  const Part keys = part(k_, heads_.k_first + head * heads_.size, text, 0, visible.keys, moved.get());
  const Buffer<float> by_place(static_cast<size_t>(of_queries_.rows) * kTokensPerGroup *
                               static_cast<size_t>(visible.groups()));
  products(of_queries_, head, keys, visible.groups(), by_place.get());
  for (const Queries& queries : all)
    if (queries.text == text) attend(rounded, queries, head, by_place.get(), y);
}

// Throws std::bad_alloc.
void Call::attend(const Rounded& rounded, const Queries& queries, int64_t head, const float* by_place, float* y) const {
  const size_t text = queries.text;
  const int64_t feature = head * heads_.size;
  const VisibleKeys& visible = visible_of(text, head);
  const bool int8 = heads_.int8 && visible.fit_int8();
  const int groups = queries.groups();
  const size_t own = placed() ? heads_.group() * static_cast<size_t>(groups) : 0;
  const size_t moved = int8 ? 0 : room(text, visible);
  const size_t scores = static_cast<size_t>(visible.keys) * static_cast<size_t>(groups) * kTokensPerGroup;
  const bool added = !visible.same || bias_.data != nullptr || by_place != nullptr;
  const Buffer<float> scratch(2 * own + 2 * moved + (added ? 2 * scores : scores));
  float* const result = scratch.get();
  float* const moved_keys = result + 2 * own;
  float* const room_of_scores = moved_keys + 2 * moved;
  float* const additions = added ? room_of_scores + scores : nullptr;
  const Part query = part(q_, heads_.q_first + feature, text, queries.first, queries.tokens, result + own);
  if (by_place != nullptr)
    expand_positions(queries, head, query, by_place, visible.keys, additions);
  else if (bias_.data != nullptr)
    expand_bias(queries, head, visible.keys, additions);
  else if (added)
    expand_mask(visible.mask, texts_.length, queries.first, groups, additions);
  Part keys{nullptr, 0}, values{nullptr, 0};
  if (!int8) {
    keys = part(k_, heads_.k_first + feature, text, 0, visible.keys, moved_keys);
    values = part(v_, heads_.v_first + feature, text, 0, visible.keys, moved_keys + moved);
  }
  // Where the first result goes, as a token of the output.
  const int64_t at = heads_.first_tokens ? static_cast<int64_t>(text) : texts_[text].first + queries.first;
  float* const target = y + static_cast<size_t>(at / kTokensPerGroup) * out_stride_ + feature * kTokensPerGroup;
  const Attention attention{query.data,
                            keys.data,
                            values.data,
                            placed() ? result : target,
                            query.stride,
                            placed() ? heads_.group() : out_stride_,
                            static_cast<int>(heads_.size),
                            visible.keys,
                            heads_.scale,
                            visible.bias.data(),
                            additions,
                            room_of_scores};
  if (int8)
    rounded.attend(kernels_, text * static_cast<size_t>(heads_.count) + static_cast<size_t>(head), attention, groups);
  else
    kernels_.attention(attention, groups);
  if (!placed()) return;
  for (int g = 0; g < groups; ++g) {
    const int64_t tokens = std::min<int64_t>(kTokensPerGroup, queries.tokens - g * kTokensPerGroup);
    kernels_.place(result + g * heads_.group(), static_cast<int>(at % kTokensPerGroup), static_cast<int>(tokens),
                   static_cast<int>(heads_.size), target + g * out_stride_, out_stride_);
  }
}

std::vector<Queries> Call::all_queries() const {
  constexpr int64_t kMost = kQueryGroups * kTokensPerGroup;
  std::vector<Queries> all;
  for (size_t text = 0; text < texts_.count(); ++text) {
    const int64_t tokens = std::min(texts_[text].tokens, heads_.first_tokens ? 1 : texts_[text].tokens);
    for (int64_t first = 0; first < tokens; first += kMost)
      all.push_back({text, first, std::min(kMost, tokens - first)});
  }
  return all;
}

// Zeros where the output has no token: what follows computes with all 16 of a group.
void Call::clear_unused_lanes(float* y) const {
  const size_t groups = static_cast<size_t>(Texts::groups_of(static_cast<int64_t>(texts_.count())));
  if (heads_.first_tokens) std::fill(y, y + groups * out_stride_, 0.0f);
  if (heads_.first_tokens || texts_.padded) return;
  const size_t used = texts_.kept.size() % kTokensPerGroup;
  float* const end = y + static_cast<size_t>(q_.groups) * out_stride_;
  for (float* lanes = end - (used ? out_stride_ : 0); lanes < end; lanes += kTokensPerGroup)
    std::fill(lanes + used, lanes + kTokensPerGroup, 0.0f);
}

void Call::compute(OrtKernelContext* context) const {
  const int64_t batch = heads_.first_tokens ? 1 : q_.batch;
  const int64_t groups =
      heads_.first_tokens ? Texts::groups_of(static_cast<int64_t>(texts_.count())) : q_.groups;
  float* y = output(context, {batch, groups, heads_.width(), kTokensPerGroup});
  clear_unused_lanes(y);
  if (q_.all_groups() == 0) return;  // of however many texts
  const Rounded rounded = round(context);
  const std::vector<Queries> all = all_queries();
  std::atomic<bool> out_of_memory{false};
  const size_t pieces = heads_.disentangled ? texts_.count() : all.size();
  parallel(context, pieces * static_cast<size_t>(heads_.count), [&](size_t index) {
    const size_t piece = index / static_cast<size_t>(heads_.count);
    const int64_t head = static_cast<int64_t>(index) % heads_.count;
    try {
      if (heads_.disentangled)
        attend_to_places(rounded, piece, all, head, y);
      else
        attend(rounded, all[piece], head, nullptr, y);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  require(!out_of_memory, "no memory for the scores of attention");
}

class PackedAttention : public Operator {
 public:
  PackedAttention(const OrtKernelInfo* info, bool int8, bool disentangled = false)
      : kernels_(kernels()),
        heads_{integer(info, "heads", 1, 1 << 12),   integer(info, "head_size", 8, 1 << 12),
               integer(info, "q_first", 0, 1 << 20), integer(info, "k_first", 0, 1 << 20),
               integer(info, "v_first", 0, 1 << 20), real(info, "scale") * kLog2e,
               int8,                                 flag(info, "first_tokens"),
               disentangled},
        masked_(!disentangled && input_count(info) == Inputs::mask + 1),
        biased_(!disentangled && input_count(info) > Inputs::bias) {
    require(heads_.size % 8 == 0, "head_size is not a multiple of 8");
  }
  void compute(OrtKernelContext* context) const override { Call(context, kernels_, heads_, masked_, biased_).compute(context); }

 private:
  const Kernels& kernels_;
  Heads heads_;
  bool masked_, biased_;
};

}  // namespace

std::unique_ptr<Operator> make_PackedAttention(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, false);
}
std::unique_ptr<Operator> make_PackedDisentangledAttention(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, false, true);
}
std::unique_ptr<Operator> make_PackedAttentionInt8(const OrtKernelInfo* info) {
  return std::make_unique<PackedAttention>(info, true);
}

}  // namespace sdp
