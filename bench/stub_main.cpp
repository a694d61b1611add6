// A stub engine as a process of its own: davit_bench_stub SOCKET
#include "bench/stub_engine.hpp"

#include <iostream>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "davit_bench_stub SOCKET\n";
    return 2;
  }
  davit::transport::io_runtime io{1};
  davit::bench::stub_engine engine{io, argv[1]};
  ::pause();
}
