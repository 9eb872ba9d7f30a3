// From a model's tensors to a SparseMatrix that a kernel may trust.
#pragma once

#include "kernels.h"
#include "tensors.h"

namespace sdp {

struct SparseInputs {
  size_t values, columns, rows, widths;
};

// The positions in an operator's row of operators.def.
template <class Inputs>
constexpr SparseInputs sparse_inputs() {
  return {Inputs::values, Inputs::columns, Inputs::rows, Inputs::widths};
}

// Reads these inputs and the attributes slice and block. `columns` counts elements of a row.
// Throws Refused unless every index stays inside the matrix and every row of it appears once in each slice.
template <class Value>
SparseMatrix read_sparse_matrix(const OrtKernelInfo*, const SparseInputs&, int64_t rows, int64_t columns);

}  // namespace sdp
