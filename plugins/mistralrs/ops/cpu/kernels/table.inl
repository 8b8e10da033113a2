// Fills the table of one instruction set. Included last, inside an anonymous namespace.

constexpr KernelTable kTable = {
    V::kLanes,
    {matmul_tile<Storage::kF32>, matmul_tile<Storage::kF16>, matmul_tile<Storage::kBF16>,
     matmul_tile<Storage::kQ4Sym>, matmul_tile<Storage::kQ4Asym>, matmul_tile<Storage::kQ4K>,
     matmul_tile<Storage::kQ5Sym>, matmul_tile<Storage::kQ5Asym>, matmul_tile<Storage::kQ5K>,
     matmul_tile<Storage::kQ6K>, matmul_tile<Storage::kQ8>, matmul_tile<Storage::kQ2K>,
     matmul_tile<Storage::kQ3K>, matmul_tile<Storage::kTable>, matmul_tile<Storage::kTableK>,
     matmul_tile<Storage::kFp4>},
    quantize,
    quantize_minimums,
    quantize_residual,
    norm,
    activate,
    add_scaled,
    scale_and_cap,
    rope_angles,
    rotate,
    store,
    attend,
    merge,
};
