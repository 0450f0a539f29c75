using Gsplat;
using UnityEngine;

namespace Ani3D.GsplatBridge
{
    /// <summary>
    /// Draws the avatar through the package wu.yize.gsplat: its renderer's uncompressed buffers are overwritten every
    /// frame. Its asset must hold as many Gaussians: import the first frame that `ani3d export --to ply` writes.
    /// </summary>
    [ExecuteAlways]
    [DefaultExecutionOrder(100)]
    [RequireComponent(typeof(Ani3DPlayer), typeof(GsplatRenderer))]
    [AddComponentMenu("Ani3D/Ani3D to gsplat")]
    public sealed class Ani3DGsplatBridge : MonoBehaviour
    {
        static readonly int PosedMeans = Shader.PropertyToID("PosedMeans"), PosedQuats = Shader.PropertyToID("PosedQuats"),
            PosedLogScales = Shader.PropertyToID("PosedLogScales"), Colors = Shader.PropertyToID("Colors"),
            Positions = Shader.PropertyToID("Positions"), Rotations = Shader.PropertyToID("Rotations"),
            Scales = Shader.PropertyToID("Scales"), Coefficients = Shader.PropertyToID("Coefficients"),
            Count = Shader.PropertyToID("Count"), Total = Shader.PropertyToID("Total");

        ComputeShader shader;
        int kernel;
        Ani3DPlayer player;
        GsplatRenderer target;

        void OnEnable()
        {
            shader = Instantiate(Resources.Load<ComputeShader>("Ani3DToGsplat"));
            kernel = shader.FindKernel("Copy");
            player = GetComponent<Ani3DPlayer>();
            target = GetComponent<GsplatRenderer>();
            player.DrawsItself = false;
        }

        void OnDisable()
        {
            player.DrawsItself = true;
            if (Application.isPlaying) Destroy(shader);
            else DestroyImmediate(shader);
        }

        void LateUpdate()
        {
            if (!player.Refresh() || !(target.GsplatResource is GsplatResourceUncompressed buffers)) return;
            // Its upload may come in parts; what is not there yet is not written.
            if (buffers.PositionBuffer == null || !buffers.Uploaded) return;
            player.PoseOnGpu();
            int total = buffers.PositionBuffer.count;
            shader.SetInt(Count, Mathf.Min(player.Gpu.Count, total));
            shader.SetInt(Total, total);
            shader.SetBuffer(kernel, PosedMeans, player.Gpu.PosedMeans);
            shader.SetBuffer(kernel, PosedQuats, player.Gpu.PosedQuats);
            shader.SetBuffer(kernel, PosedLogScales, player.Gpu.PosedLogScales);
            shader.SetBuffer(kernel, Colors, player.Gpu.Colors);
            shader.SetBuffer(kernel, Positions, buffers.PositionBuffer);
            shader.SetBuffer(kernel, Rotations, buffers.RotationBuffer);
            shader.SetBuffer(kernel, Scales, buffers.ScaleBuffer);
            shader.SetBuffer(kernel, Coefficients, buffers.ColorBuffer);
            shader.Dispatch(kernel, (total + 63) / 64, 1, 1);
        }
    }
}
