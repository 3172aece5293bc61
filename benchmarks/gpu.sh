#!/usr/bin/env bash
# The GPU tests and the benchmark on a machine with an NVIDIA GPU and a PyTorch, but without .NET and without a network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'END'
benchmarks/gpu.sh publish           here: makes artifacts/gpu/influence-gpu.tar.gz, which needs no .NET
benchmarks/gpu.sh run [options]     there: builds the binding's native part against the machine's PyTorch, runs the GPU
                                    tests, then the benchmark

  --device cuda|cuda:N|cpu          cuda unless given
  --tests-only                      without the benchmark
  --quick, --only mlp|cnn|decoder,
  --method tracin|influence         passed on to the benchmark

LIBTORCH names a libtorch folder (include/ and lib/); without it python3 is asked for its torch.
OUT names the folder of the results; without it they go to benchmarks/results.
run needs g++, and takes cmake with ninja or make where they are installed. It works in the repository, where the archive lies in artifacts/gpu,
and in the unpacked archive alone.
END
}

fail() {
    printf 'gpu.sh: %s\n' "$*" >&2
    exit 1
}

# --- publish ---------------------------------------------------------------------------------------------------------

readonly most_bytes=$((64 * 1024 * 1024))
readonly fashion_mnist=/usr/share/datasets/fashion-mnist
readonly texts=/usr/share/common-licenses

# The first images and labels are all that the benchmark reads.
carry_fashion_mnist() { # carry_fashion_mnist <folder> <part> <count>
    local part=$2 count=$3
    cut_gzip "$part-images-idx3-ubyte.gz" $((16 + count * 784)) "$1"
    cut_gzip "$part-labels-idx1-ubyte.gz" $((8 + count)) "$1"
}

cut_gzip() { # cut_gzip <file> <bytes> <folder>
    # head leaves before gzip is done, which is no failure.
    (set +o pipefail; gzip -dc "$fashion_mnist/$1" 2> /dev/null | head -c "$2" | gzip -9n > "$3/$1")
}

carry_data() { # carry_data <folder>
    if [ -d "$fashion_mnist" ]; then
        mkdir -p "$1/fashion-mnist"
        carry_fashion_mnist "$1/fashion-mnist" train 5000
        carry_fashion_mnist "$1/fashion-mnist" t10k 500
    fi
    if [ -d "$texts" ]; then
        mkdir -p "$1/text"
        cp -L "$texts"/{Apache,GFDL,GPL,LGPL,MPL}-* "$1/text/"
    fi
}

command_publish() {
    local root out=artifacts/gpu package=influence-gpu bytes
    root=$(dirname "$here")
    cd "$root"
    command -v dotnet > /dev/null || fail "the .NET 10 SDK is needed: https://dotnet.microsoft.com/download"
    rm -rf "$out/$package" "$out/$package.tar.gz"
    mkdir -p "$out/$package"

    # A build tree of its own: the runtime identifier must not change what ./build.sh has restored.
    dotnet publish benchmarks/Influence.Benchmarks -c Release -r linux-x64 --self-contained --nologo -v quiet \
        -p:TorchSharpSource=system "-p:ArtifactsPath=$root/$out/build" \
        -p:PublishTrimmed=false -p:PublishSingleFile=false -p:InvariantGlobalization=true \
        -p:DebugType=none -p:DebugSymbols=false -p:GenerateDocumentationFile=false \
        -o "$out/$package/app"
    # Built against this machine's libtorch; the other machine builds its own.
    rm -f "$out/$package/app/libinfluence_torch_native.so" "$out/$package"/app/*.pdb "$out/$package"/app/{createdump,libcoreclrtraceptprovider.so}
    carry_data "$out/$package/app/data"
    mkdir "$out/$package/native"
    cp src/TorchSharp.SystemLibtorch/native/* "$out/$package/native/"
    cp benchmarks/gpu.sh "$out/$package/"

    tar -C "$out" --owner=0 --group=0 --sort=name -czf "$out/$package.tar.gz" "$package"
    bytes=$(stat -c %s "$out/$package.tar.gz")
    [ "$bytes" -lt "$most_bytes" ] || fail "$out/$package.tar.gz takes $bytes bytes, more than $most_bytes"
    echo "$out/$package.tar.gz: $((bytes / 1024 / 1024)) MiB"
}

# --- run -------------------------------------------------------------------------------------------------------------

# Leaves the package's folder in `package`: this folder in the unpacked archive, else where the repository keeps it. An
# archive that is newer than what was unpacked of it is unpacked again.
find_package() {
    if [ -d "$here/app" ]; then
        package=$here
        return
    fi
    local gpu archive
    gpu=$(dirname "$here")/artifacts/gpu
    archive=$gpu/influence-gpu.tar.gz
    package=$gpu/influence-gpu
    if [ -f "$archive" ] && { [ ! -d "$package/app" ] || [ "$archive" -nt "$package/unpacked" ]; }; then
        rm -rf "$package"
        tar -C "$gpu" -xzf "$archive"
        touch "$package/unpacked"
    fi
    [ -d "$package/app" ] || fail "nothing was published: run 'benchmarks/gpu.sh publish' on a machine with the .NET 10 SDK and copy artifacts/gpu/influence-gpu.tar.gz here"
}

# Leaves the folder in `libtorch`, and in `libraries` the folders whose libraries it may load while it runs.
find_libtorch() {
    libtorch=${LIBTORCH:-}
    if [ -z "$libtorch" ]; then
        command -v python3 > /dev/null || fail "there is no python3 to ask for its torch; set LIBTORCH to a folder with include/ and lib/"
        libtorch=$(python3 -c 'import os, torch; print(os.path.dirname(os.path.dirname(os.path.dirname(torch.utils.cmake_prefix_path + "/"))))') \
            || fail "python3 has no torch; set LIBTORCH to a folder with include/ and lib/"
        [ -d "$libtorch/include" ] || libtorch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
    fi
    [ -f "$libtorch/include/ATen/ATen.h" ] || fail "there is no include/ATen/ATen.h in $libtorch"
    [ -f "$libtorch/lib/libtorch_cpu.so" ] || fail "there is no lib/libtorch_cpu.so in $libtorch"

    # A wheel's libtorch finds NVIDIA's wheels beside it by its own search path; what it opens later may not.
    libraries=$libtorch/lib
    local folder
    for folder in "$(dirname "$libtorch")"/nvidia/*/lib; do
        [ ! -d "$folder" ] || libraries+=:$folder
    done
}

# Which std::string the libtorch was built with: its own CMake file says so, and newer ones, which do not, use the new one.
cxx11_abi() {
    local abi
    abi=$(sed -n 's/.*\(_GLIBCXX_USE_CXX11_ABI=[01]\).*/\1/p' "$libtorch/share/cmake/Torch/TorchConfig.cmake" 2> /dev/null | head -n 1)
    if [ -z "$abi" ] && [ -z "${LIBTORCH:-}" ]; then
        abi=_GLIBCXX_USE_CXX11_ABI=$(python3 -c 'import torch; print(int(torch.compiled_with_cxx11_abi()))')
    fi
    [ -z "$abi" ] || echo "-D$abi"
}

build_with_compiler() { # build_with_compiler <build folder>
    local flags=() link=(-ltorch_cpu -lc10) standard=17
    mapfile -t flags < <(cxx11_abi)
    ! grep -q 'C++20 or later' "$libtorch/include/ATen/ATen.h" || standard=20
    [ ! -f "$libtorch/lib/libtorch_cuda.so" ] || link+=(-Wl,--no-as-needed -ltorch_cuda -Wl,--as-needed)
    g++ -O2 -DNDEBUG "-std=c++$standard" -fPIC -fvisibility=hidden -shared "${flags[@]}" \
        -isystem "$libtorch/include" -isystem "$libtorch/include/torch/csrc/api/include" \
        "$package/native/influence_torch_native.cpp" -o "$1/libinfluence_torch_native.so" \
        "-L$libtorch/lib" "-Wl,-rpath,$libtorch/lib" "${link[@]}" -ldl
}

# Always from the start: the libtorch may be another than last time.
build_native() {
    local build=$package/native-build generator=()
    rm -rf "$build"
    mkdir -p "$build"
    command -v g++ > /dev/null || fail "g++ is needed to build the native part"
    ! command -v ninja > /dev/null || generator=(-GNinja)
    if command -v cmake > /dev/null && { command -v ninja || command -v make; } > /dev/null; then
        cmake "${generator[@]}" -S "$package/native" -B "$build" "-DLIBTORCH=$libtorch" > "$build.log" 2>&1 && cmake --build "$build" >> "$build.log" 2>&1 \
            || { tail -n 30 "$build.log" >&2; fail "cmake could not build the native part"; }
    else
        build_with_compiler "$build" > "$build.log" 2>&1 || { tail -n 30 "$build.log" >&2; fail "g++ could not build the native part"; }
    fi
    cp "$build/libinfluence_torch_native.so" "$package/app/"
}

command_run() {
    local device=cuda tests_only=false options=() package libtorch libraries out tests=0
    while [ $# -gt 0 ]; do
        case "$1" in
            --device | --only | --method)
                [ $# -gt 1 ] || fail "$1 needs a value"
                if [ "$1" = --device ]; then device=$2; else options+=("$1" "$2"); fi
                shift
                ;;
            --tests-only) tests_only=true ;;
            --quick) options+=("$1") ;;
            *) fail "there is no option '$1'; benchmarks/gpu.sh lists them" ;;
        esac
        shift
    done

    find_package
    find_libtorch
    out=${OUT:-$here/results}
    if [ -n "${LIBTORCH:-}" ]; then echo "Building the native part against LIBTORCH"; else echo "Building the native part against python3's torch"; fi
    build_native
    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} DOTNET_EnableDiagnostics=0
    mkdir -p "$out"
    echo "== GPU tests"
    "$package/app/Influence.Benchmarks" gpu-tests --device "$device" 2>&1 | tee "$out/gpu-tests-${device%%:*}.txt" || tests=$?
    [ "$tests" -le 1 ] || fail "the GPU tests could not be run"
    if [ "$tests_only" = false ]; then
        echo "== Benchmark"
        "$package/app/Influence.Benchmarks" bench --device "$device" --output "$out" "${options[@]}"
    fi
    [ "$tests" -eq 0 ] || fail "GPU tests failed"
}

case "${1:-}" in
    publish | run) "command_$1" "${@:2}" ;;
    "" | -h | --help | help) usage ;;
    *) fail "there is no command '$1'; benchmarks/gpu.sh lists them" ;;
esac
