# SPDX-License-Identifier: Apache-2.0
if(TARGET praas_client)
  praas_unit_test(cli praas_cli praas_client)
endif()
