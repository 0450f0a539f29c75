using UnityEngine;

namespace Ani3D
{
    /// <summary>Names of the shaders' parameters, looked up once, and the kernels of Ani3D.compute.</summary>
    static class Id
    {
        public static readonly int RestMeans = Shader.PropertyToID("RestMeans"),
            RestQuats = Shader.PropertyToID("RestQuats"), RestLogScales = Shader.PropertyToID("RestLogScales"),
            SkinWords = Shader.PropertyToID("SkinWords"), Rows = Shader.PropertyToID("Rows"),
            GroupMeans = Shader.PropertyToID("GroupMeans"), MeanTexels = Shader.PropertyToID("MeanTexels"),
            RotationTexels = Shader.PropertyToID("RotationTexels"),
            LogScaleTexels = Shader.PropertyToID("LogScaleTexels"), Joints = Shader.PropertyToID("Joints"),
            Steps = Shader.PropertyToID("Steps"), FirstStep = Shader.PropertyToID("FirstStep"),
            ListEnds = Shader.PropertyToID("ListEnds"), TexelWords = Shader.PropertyToID("TexelWords"),
            Count = Shader.PropertyToID("Count"), MovingCount = Shader.PropertyToID("MovingCount"),
            Influences = Shader.PropertyToID("Influences"), Turn = Shader.PropertyToID("Turn"),
            Share = Shader.PropertyToID("Share"), Growth = Shader.PropertyToID("Growth"),
            ViewRows = Shader.PropertyToID("ViewRows"), Pinhole = Shader.PropertyToID("Pinhole"),
            Orthographic = Shader.PropertyToID("Orthographic"), ImageSize = Shader.PropertyToID("ImageSize"),
            DepthRange = Shader.PropertyToID("DepthRange"), PosedMeans = Shader.PropertyToID("PosedMeans"),
            PosedQuats = Shader.PropertyToID("PosedQuats"), PosedLogScales = Shader.PropertyToID("PosedLogScales"),
            Splats = Shader.PropertyToID("Splats"), DepthBins = Shader.PropertyToID("DepthBins"),
            BinStarts = Shader.PropertyToID("BinStarts"), Order = Shader.PropertyToID("Order"),
            SplatRows = Shader.PropertyToID("SplatRows"), OrderRows = Shader.PropertyToID("OrderRows"),
            Colors = Shader.PropertyToID("Colors"), Picture = Shader.PropertyToID("Picture"),
            PictureDepth = Shader.PropertyToID("PictureDepth"), CameraNumbers = Shader.PropertyToID("CameraNumbers"),
            Serial = Shader.PropertyToID("Serial");
    }
}
