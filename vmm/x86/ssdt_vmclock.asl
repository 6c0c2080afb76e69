/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMClock, of a board that has one: the page that says when the guest was moved. */
DefinitionBlock ("", "SSDT", 2, "FERRY", "FERRYVMC", 1)
{
	Scope (\_SB)
	{
		Device (VCLK)
		{
			Name (_HID, "AMZNC10C")
			Name (_CID, "VMCLOCK")
			Name (_DDN, "VMCLOCK")
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				DWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadOnly,
					0x00000000, 0x000df000, 0x000dffff, 0x00000000, 0x00001000)
			})
		}
	}
}
