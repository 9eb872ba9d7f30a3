// Attention of one head, in fp32 and in int8: the second half of body.h.
#pragma once

namespace sdp::SDP_ISA {

constexpr int kKeysAtOnce = SDP_LANES == 16 ? 8 : 4;

// Below every score.
constexpr float kLowest = -3.0e38f;

// What is added to the scores of a key, of group `g` of the queries.
template <class Head>
SDP_INLINE Floats bias_of(const Head& a, int key, int g) {
  return a.mask ? load(a.mask + (static_cast<size_t>(g) * a.keys + key) * kTokens) : all(a.key_bias[key]);
}

template <int G>
void attend(const Attention& a) {
  Floats largest[G], total[G];
  for (int g = 0; g < G; ++g) largest[g] = all(kLowest), total[g] = all(0.0f);

  // scores[key][query], the largest of each query on the way.
  for (int key = 0; key < a.keys; key += kKeysAtOnce) {
    Floats sum[kKeysAtOnce][G];
    for (auto& row : sum)
      for (Floats& s : row) s = all(0.0f);
    dense_sums<F32Sums>(reinterpret_cast<const char*>(a.k + key / kTokens * a.stride + key % kTokens), a.head_size,
                        reinterpret_cast<const char*>(a.q), a.stride * 4, sum);
    const int here = a.keys - key < kKeysAtOnce ? a.keys - key : kKeysAtOnce;
    for (int r = 0; r < here; ++r)
      for (int g = 0; g < G; ++g) {
        const size_t at = static_cast<size_t>(key + r) * G + g;
        const Floats score = fma(sum[r][g], all(a.scale), bias_of(a, key + r, g));
        store(a.scores + at * kTokens, score);
        largest[g] = max(score, largest[g]);
      }
  }
  for (int key = 0; key < a.keys; ++key)
    for (int g = 0; g < G; ++g) {
      float* score = a.scores + (static_cast<size_t>(key) * G + g) * kTokens;
      const Floats e = exp2(load(score) - largest[g]);
      store(score, e);
      total[g] = total[g] + e;
    }

  for (int g = 0; g < G; ++g) total[g] = all(1.0f) / total[g];
  for (int d = 0; d < a.head_size; d += kKeysAtOnce) {
    Floats sum[kKeysAtOnce][G];
    for (auto& row : sum)
      for (Floats& s : row) s = all(0.0f);
    for (int key = 0; key < a.keys; key += kTokens) {
      const float* v = a.v + key / kTokens * a.stride + static_cast<size_t>(d) * kTokens;
      const int here = a.keys - key < kTokens ? a.keys - key : kTokens;
      for (int j = 0; j < here; ++j)
#pragma GCC unroll 8
        for (int r = 0; r < kKeysAtOnce; ++r)
#pragma GCC unroll 2
          for (int g = 0; g < G; ++g)
            sum[r][g] = fma(v[r * kTokens + j],
                            load(a.scores + (static_cast<size_t>(key + j) * G + g) * kTokens), sum[r][g]);
    }
    for (int r = 0; r < kKeysAtOnce; ++r)
      for (int g = 0; g < G; ++g)
        store(a.out + g * a.out_stride + static_cast<size_t>(d + r) * kTokens, sum[r][g] * total[g]);
  }
}

inline void attention(const Attention& a, int query_groups) {
  if (query_groups == 2)
    attend<2>(a);
  else
    attend<1>(a);
}

// The keys of one group, rounded to bytes as `quantize` does, and shifted to signed ones.
inline void quantize_keys(const float* k, int head_size, int8_t* out, float* scale, int32_t* sum) {
  quantize(k, head_size, reinterpret_cast<uint8_t*>(out), scale);
  Ints total = all_ints(-kZeroPoint * head_size);
  for (int d = 0; d < head_size / 4; ++d) {
    int8_t* at = out + d * kTokens * 4;
    const Ints bytes = load_ints(at);
    total = dot4(total, bytes, I32{} + 0x01010101);
    store_ints(at, bytes ^ static_cast<int32_t>(0x80808080));
  }
  store_ints(sum, total);
}

// The values of one head, each feature with one scale for all keys that are seen; the others become zero.
inline void quantize_values(const float* v, size_t stride, int groups, int head_size, const int32_t* seen, int8_t* out,
                            float* scale, int32_t* sum) {
  for (int d = 0; d < head_size; ++d) {
    const auto value = [&](int g) {
      return from_bits(bits(load(v + g * stride + static_cast<size_t>(d) * kTokens)) & load_ints(seen + g * kTokens));
    };
    float lanes[kTokens];
    store(lanes, largest_magnitude(groups, value));
    float largest = lanes[0];
    for (float lane : lanes) largest = lane > largest || lane != lane ? lane : largest;
    scale[d] = largest / 127;
    const Floats inverse = all(127.0f / (largest > 1e-30f ? largest : 1e-30f));
    Ints total = all_ints(0);
    for (int g = 0; g < groups; ++g) {
      const Ints rounded = bits(fma(value(g), inverse, all(kRound))) + all_ints(-kRoundBits);
      total = total + rounded;
      store_bytes(out + (static_cast<size_t>(g) * head_size + d) * kTokens, rounded);
    }
    // Unsigned: where a value is not a number, neither is the scale, and these are any bits.
    uint32_t sums[kTokens], together = 0;
    store_ints(sums, total);
    for (uint32_t lane : sums) together += lane;
    sum[d] = static_cast<int32_t>(together);
  }
}

template <int G>
void attend_i8(const AttentionI8& a) {
  const size_t group_bytes = static_cast<size_t>(a.head_size) * kTokens;
  Floats largest[G], total[G], scale[G];
  for (int g = 0; g < G; ++g) {
    largest[g] = all(kLowest), total[g] = all(0.0f);
    scale[g] = load(a.q_scale + g * kTokens) * a.scale;
  }

  for (int key = 0; key < a.keys; key += kKeysAtOnce) {
    Ints sum[kKeysAtOnce][G];
#pragma GCC unroll 8
    for (int r = 0; r < kKeysAtOnce; ++r)
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) sum[r][g] = all_ints(-kZeroPoint * a.k_sum[key + r]);
    const int8_t* keys = a.k + key / kTokens * group_bytes + key % kTokens * 4;
    dense_sums<I8Sums>(reinterpret_cast<const char*>(keys), a.head_size / 4, reinterpret_cast<const char*>(a.q),
                         group_bytes, sum);
    const int here = a.keys - key < kKeysAtOnce ? a.keys - key : kKeysAtOnce;
#pragma GCC unroll 8
    for (int r = 0; r < kKeysAtOnce; ++r) {
      if (r >= here) break;
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) {
        const Floats score = fma(to_floats(sum[r][g]) * a.k_scale[key + r], scale[g], bias_of(a, key + r, g));
        store(a.scores + (static_cast<size_t>(key + r) * G + g) * kTokens, score);
        largest[g] = max(score, largest[g]);
      }
    }
  }

  // Shares of the largest in steps of 1/255, four keys to a word; their sum is that of the rounded ones.
  for (int key = 0; key < a.keys; key += 4)
    for (int g = 0; g < G; ++g) {
      Ints bytes = all_ints(0);
      const int here = a.keys - key < 4 ? a.keys - key : 4;
      for (int i = here - 1; i >= 0; --i) {
        const Floats score = load(a.scores + (static_cast<size_t>(key + i) * G + g) * kTokens);
        const Floats shifted = fma(255.0f, exp2_coarse(score - largest[g]), all(kRound));
        total[g] = total[g] + (shifted - all(kRound));
        bytes = (bytes << 8) | (bits(shifted) & 0xff);
      }
      store_ints(a.shares + (static_cast<size_t>(key) / 4 * G + g) * kTokens * 4, bytes);
    }

  // A query that sees nothing gets zeros.
  for (int g = 0; g < G; ++g) total[g] = all(1.0f) / max(total[g], all(1.0f));
  for (int d = 0; d < a.head_size; d += kKeysAtOnce) {
    Ints sum[kKeysAtOnce][G];
    // Shares have no zero point, and `dot4` takes off the difference to the one that it expects.
#pragma GCC unroll 8
    for (int r = 0; r < kKeysAtOnce; ++r) {
      const uint32_t shift = (128u - kZeroPoint) * static_cast<uint32_t>(a.v_sum[d + r]);
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) sum[r][g] = all_ints(static_cast<int32_t>(shift));
    }
    for (int key = 0; key < a.keys; key += 4) {
      const int8_t* v = a.v + key / kTokens * group_bytes + static_cast<size_t>(d) * kTokens + key % kTokens;
      const uint8_t* share = a.shares + static_cast<size_t>(key) / 4 * G * kTokens * 4;
#pragma GCC unroll 8
      for (int r = 0; r < kKeysAtOnce; ++r)
#pragma GCC unroll 2
        for (int g = 0; g < G; ++g)
          sum[r][g] = I8Sums::add(sum[r][g], spread(v + r * kTokens),
                                  reinterpret_cast<const char*>(share + g * kTokens * 4));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kKeysAtOnce; ++r)
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g)
        store(a.out + g * a.out_stride + static_cast<size_t>(d + r) * kTokens,
              to_floats(sum[r][g]) * a.v_scale[d + r] * total[g]);
  }
}

inline void attention_i8(const AttentionI8& a, int query_groups) {
  if (query_groups == 2)
    attend_i8<2>(a);
  else
    attend_i8<1>(a);
}

}  // namespace sdp::SDP_ISA
