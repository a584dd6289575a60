"""Addresses, sizes and checksums of the benchmarks.

Each size and checksum is from the source named in its comment; TFDS is tensorflow/datasets,
tensorflow_datasets/url_checksums/NAME.txt. A value that no source states is None: the file is accepted as it is, and
its checksum is printed and recorded.
"""

from conspecific.data.downloads.files import RemoteFile
from conspecific.data.downloads.obtain import Collection

RESEARCH = "for non-commercial research and education only."
UNSTATED = "none published with the files; the images belong to their owners."

CUB200 = Collection(
    name="cub200",
    title="CUB-200-2011 (Wah et al. 2011)",
    files=(
        RemoteFile(
            # address: pytorch-metric-learning, datasets/cub.py; md5: TDeVries/cub2011_dataset and others, some of
            # them of this address; size: TFDS caltech_birds2011, of the copy at Google Drive
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            size=1_150_585_339,
            checksum="md5:97eceeb196236b17998738112f37df78",
        ),
    ),
    needed=(
        "CUB_200_2011/images|images",
        "CUB_200_2011/images.txt|images.txt",
        "CUB_200_2011/train_test_split.txt|train_test_split.txt",
    ),
    terms=UNSTATED,
    source="https://www.vision.caltech.edu/datasets/cub_200_2011/",
)

CARS196 = Collection(
    name="cars196",
    title="Cars196 (Krause et al. 2013)",
    files=(
        # sizes and sha256: TFDS cars196, when ai.stanford.edu/~jkrause still offered them
        RemoteFile(
            None,
            named="car_devkit.tgz",
            size=330_960,
            checksum="sha256:b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
        ),
        RemoteFile(
            None,
            named="cars_test_annos_withlabels.mat",
            size=185_758,
            checksum="sha256:790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
        ),
        RemoteFile(
            None,
            named="cars_test.tgz",
            size=977_350_468,
            checksum="sha256:bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
        ),
        RemoteFile(
            None,
            named="cars_train.tgz",
            size=979_269_282,
            checksum="sha256:512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
        ),
    ),
    needed=(
        "cars_annos.mat|cars_test_annos_withlabels.mat",
        "car_ims|cars_train",
        "car_ims|cars_test",
        "cars_annos.mat|devkit/cars_train_annos.mat",
        "cars_annos.mat|devkit/cars_meta.mat",
    ),
    terms=UNSTATED,
    source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    form="cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat, or car_ims/ and cars_annos.mat",
    step="Its site is offline: get a copy from someone who has one (checksums verify the four files).",
)

SOP = Collection(
    name="sop",
    title="Stanford Online Products (Song et al. 2016)",
    files=(
        RemoteFile(
            # address: chainercv, online_products_dataset.py; size and sha256: TFDS stanford_online_products
            "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
            size=3_083_860_082,
            checksum="sha256:b04fa78210e69fab050ce73939550e1cd0f96890bdd98ec9fee732c3b756ef48",
        ),
    ),
    needed=(
        "Stanford_Online_Products/Ebay_train.txt|Ebay_train.txt",
        "Stanford_Online_Products/Ebay_test.txt|Ebay_test.txt",
    ),
    terms=UNSTATED,
    source="https://cvgl.stanford.edu/projects/lifted_struct/",
)

INSHOP = Collection(
    name="inshop",
    title="DeepFashion In-shop Clothes Retrieval (Liu et al. 2016)",
    files=(  # no source states sizes or checksums
        RemoteFile(None, named="list_eval_partition.txt"),
        RemoteFile(None, named="img.zip"),
    ),
    needed=("list_eval_partition.txt|Eval/list_eval_partition.txt", "img|Img/img"),
    terms=f"to be agreed to with its authors, {RESEARCH}",
    source="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
    step="Open the source below, agree to its terms and fetch Img/img.zip and Eval/list_eval_partition.txt.",
)

OXFORD_PETS = Collection(
    name="oxford_pets",
    title="Oxford-IIIT Pet (Parkhi et al. 2012)",
    files=(  # addresses: torchvision, oxford_iiit_pet.py, with md5; sizes and sha256: TFDS oxford_iiit_pet
        RemoteFile(
            "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
            size=19_173_078,
            checksum="sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
        ),
        RemoteFile(
            "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
            size=791_918_971,
            checksum="sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        ),
    ),
    needed=("annotations/trainval.txt", "annotations/test.txt", "images"),
    terms="CC BY-SA 4.0; the images belong to their owners.",
    source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
)

STANFORD_DOGS = Collection(
    name="stanford_dogs",
    title="Stanford Dogs (Khosla et al. 2011)",
    files=(  # addresses, sizes and sha256: TFDS stanford_dogs
        RemoteFile(
            "http://vision.stanford.edu/aditya86/ImageNetDogs/lists.tar",
            size=481_280,
            checksum="sha256:34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
        ),
        RemoteFile(
            "http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar",
            size=793_579_520,
            checksum="sha256:a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
        ),
    ),
    needed=("train_list.mat", "test_list.mat", "Images"),
    terms=f"the images are ImageNet's, {RESEARCH}",
    source="http://vision.stanford.edu/aditya86/ImageNetDogs/",
)

FLOWERS102 = Collection(
    name="flowers102",
    title="Oxford 102 Flower (Nilsback and Zisserman 2008)",
    files=(  # addresses: torchvision, flowers102.py, with md5; sizes and sha256: TFDS oxford_flowers102
        RemoteFile(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat",
            size=502,
            checksum="sha256:4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
        ),
        RemoteFile(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat",
            size=14_989,
            checksum="sha256:46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
        ),
        RemoteFile(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
            size=344_862_509,
            checksum="sha256:2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        ),
    ),
    needed=("imagelabels.mat", "setid.mat", "jpg"),
    terms=UNSTATED,
    source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
)

INAT2018 = Collection(
    name="inat2018",
    title="iNaturalist 2018 (Van Horn et al. 2018), split of Brown et al. 2020",
    files=(
        # address: Andrew-Brown1/Smooth_AP, README, in the form of pytorch-metric-learning, datasets/inaturalist2018.py
        RemoteFile("https://drive.google.com/uc?id=1sXfkBTFDrRU3__-NUs1qBP3sf_0uMB98", named="Inat_dataset_splits.zip"),
        # address and md5: visipedia/inat_comp, 2018/README.md, which says 120 GB; the same md5 in torchvision
        RemoteFile(
            "https://ml-inat-competition-datasets.s3.amazonaws.com/2018/train_val2018.tar.gz",
            checksum="md5:b1c6952ce38f31868cc50ea72d066cc3",
        ),
    ),
    needed=(
        "Inat_dataset_splits/Inaturalist_train_set1.txt|Inaturalist_train_set1.txt",
        "Inat_dataset_splits/Inaturalist_test_set1.txt|Inaturalist_test_set1.txt",
        "train_val2018",
    ),
    terms=f"those of iNaturalist; no passing on, {RESEARCH}",
    source="https://github.com/visipedia/inat_comp/tree/master/2018",
)
