Shader "Hidden/Ani3D/Offscreen"
{
    SubShader
    {
        Pass
        {
            ZWrite Off
            ZTest Always
            Cull Off
            Blend One OneMinusSrcAlpha

            HLSLPROGRAM
            #pragma target 4.5
            #pragma vertex SplatVert
            #pragma fragment OffscreenFrag
            #include "UnityCG.cginc"

            #if !UNITY_UV_STARTS_AT_TOP
            #define ANI3D_ROWS_FROM_BELOW
            #endif
            #include "Ani3DOffscreen.hlsl"
            ENDHLSL
        }
    }
}
