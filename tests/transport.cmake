# SPDX-License-Identifier: Apache-2.0
praas_unit_test(ticket praas_ticket)
praas_unit_test(frame praas_transport)
