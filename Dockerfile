# docker build -t lcm . && docker run --rm lcm
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /lcm
COPY . .
# the build of PyTorch for processors, without gigabytes for graphics cards
RUN make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
CMD ["make", "demo"]
