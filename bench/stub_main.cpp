// A stub engine as a process of its own: davit_bench_stub SOCKET
#include "bench/stub_engine.hpp"

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "davit_bench_stub SOCKET\n";
    return 2;
  }
  boost::asio::io_context context{1};
  davit::bench::stub_engine engine{context, argv[1]};
  context.run();
}
