# SPDX-License-Identifier: Apache-2.0
praas_unit_test(examples)
target_compile_definitions(test_examples PRIVATE PRAAS_EXAMPLES="${PROJECT_BINARY_DIR}/examples")
foreach(library hello counter reduce pipeline wordcount)
  add_dependencies(test_examples example_${library})
endforeach()
