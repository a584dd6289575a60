"""Published data sets: downloaded, verified, unpacked, and read into manifests."""

from conspecific.data.downloads.sets import (
    cars196,
    cub200,
    flowers102,
    inat2018,
    inshop,
    oxford_pets,
    sop,
    stanford_dogs,
)

__all__ = ["cars196", "cub200", "flowers102", "inat2018", "inshop", "oxford_pets", "sop", "stanford_dogs"]
