// What must hold on every engine, whichever way it is reached.
#pragma once

#include "fixture/test_engine.hpp"

namespace davit::test {

/// Each way to end has its own outcome, message and exit code. Made of sections.
void check_outcomes(const any_engine& engine);

/// Every byte that a container prints is kept. Made of sections.
void check_output(const any_engine& engine);

/// A tree of files goes in and comes out exactly, into every kind of container.
void check_files(const any_engine& engine);

} // namespace davit::test
