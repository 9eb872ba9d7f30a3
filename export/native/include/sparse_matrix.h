// From a model's tensors to a SparseMatrix that a kernel may trust.
#pragma once

#include "kernels.h"
#include "tensors.h"

namespace sdp {

// Reads attributes slice and block and inputs 1 to 4: values, columns, rows, widths. `columns` counts elements of a row.
// Throws Refused unless every index stays inside the matrix and every row of it appears once in each slice.
template <class Value>
SparseMatrix read_sparse_matrix(const OrtKernelInfo*, int64_t rows, int64_t columns);

}  // namespace sdp
