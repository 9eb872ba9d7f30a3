// The kernels and their types: one set for each instruction set, listed in kernels.def. No kernel allocates, checks or
// knows onnxruntime: the operators validate, the kernels compute.
//
// Activations are packed: a group is 16 tokens, and a group of `width` features is an array [width][16], so that one
// vector holds one feature of 16 tokens. Sums, exponentials and norms then run down the features without a transpose,
// and the output of one product is the input of the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sdp {

constexpr int kTokensPerGroup = 16;

enum class Activation { none, gelu, gelu_tanh, silu };

// A sparse matrix [rows][columns] in slices: SELL-C-sigma with C = 4 (Kreutzer et al., SIAM J. Sci. Comput. 36, 2014).
//
// An element is one float, or four consecutive int8 of a row (a 1x4 block); `columns` counts elements. The columns are
// cut into slices, so that the inputs of a slice stay in the first-level cache, and the rows into blocks, the unit of
// parallel work. In each (block, slice) the rows are ordered by their number of elements and taken four at a time; the
// four are padded to one width and their elements interleaved: element j of row r is at 4 * j + r of its quad. A
// padding element has value zero and any column of the slice.
struct SparseMatrix {
  int rows = 0;
  int columns = 0;
  int slice = 0;                      // columns of a slice, at most 256
  int block = 0;                      // rows of a block, a multiple of 4, at most 256
  const void* values = nullptr;       // [elements] of 4 bytes, block by block, slice by slice, quad by quad
  const uint8_t* column = nullptr;    // [elements], counted from the first column of the slice
  const uint8_t* row = nullptr;       // [slices * rows], block by block, slice by slice: counted from the block's first
  const uint16_t* width = nullptr;    // [slices * rows / 4]: elements of each row of a quad
  std::vector<size_t> first_element;  // [blocks * slices]

  int blocks() const { return (rows + block - 1) / block; }
  int slices() const { return (columns + slice - 1) / slice; }
};

// A product with consecutive groups of tokens; `matrix` is null where the weights are dense and given beside it.
struct ProductF32 {
  const SparseMatrix* matrix;
  const float* bias;  // [rows]
  Activation activation;
};

struct ProductI8 {
  const SparseMatrix* matrix;
  const float* bias;        // [rows]
  const float* row_scale;   // [rows]
  const int32_t* row_sum;   // [rows]: the sum of a row's weights, which corrects for the inputs' zero point
  Activation activation;
};

// softmax(Q K^T * factor + mask) V of one head and up to `kQueryGroups` groups of queries.
struct Attention {
  const float* q;  // [query groups][q_stride], each [head_size][16]
  const float* k;  // [key groups][stride]
  const float* v;  // [key groups][stride]
  float* out;      // [query groups][out_stride]
  size_t stride;   // floats from one group of q, k and v to the next
  size_t out_stride;
  int head_size;
  int keys;         // of which the last group may hold fewer than 16
  float scale;      // log2(e) times the factor of the scores: the exponentials are of base 2
  const float* key_bias;  // [keys], added to every query's scores; -infinity leaves a key out
  const float* mask;      // instead, [query groups][keys][16]; null if every query has the same
  float* scores;          // room for [keys][query groups * 16]
};

// The same on bytes. Queries have zero point 128 and a scale each, keys a scale each, values a scale for each feature;
// the softmax is rounded to shares of its largest term in steps of 1/255.
struct AttentionI8 {
  const uint8_t* q;      // [query groups][head_size / 4][16][4]
  const float* q_scale;  // [query groups][16]
  const int8_t* k;       // [key groups][head_size / 4][16][4]
  const float* k_scale;  // [key groups][16]
  const int32_t* k_sum;  // [key groups][16]: of the bytes of a key, which corrects for the queries' zero point
  const int8_t* v;       // [key groups][head_size][16]
  const float* v_scale;  // [head_size]
  const int32_t* v_sum;  // [head_size]
  float* out;            // [query groups][out_stride]
  size_t out_stride;
  int head_size;
  int keys;
  float scale;            // as in Attention, like the next three
  const float* key_bias;
  const float* mask;
  float* scores;
  uint8_t* shares;  // room for [keys / 4, rounded up][query groups][16][4]
};

// The kernels of one instruction set.
struct Kernels {
  const char* name;
  int groups_at_once;  // groups of tokens in a sparse product's registers
#define KERNEL(name, ...) void (*name)(__VA_ARGS__);
#include "kernels.def"
};

constexpr int kQueryGroups = 2;

}  // namespace sdp
